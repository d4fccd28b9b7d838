// Package productdb is the database of HashiCups: it runs a real Postgres of
// this machine in the foreground, with the schema and the nine coffees already
// in it when the port opens.
//
// The first start makes the cluster in a folder aside, fills it in Postgres'
// single-user mode, and renames it to "data" when it is complete: a start that
// was interrupted leaves nothing half made, and a later start finds "data" and
// changes nothing in it.
//
// The cluster is one for a lab, not for data of worth: it does not wait for the
// disk (fsync, synchronous_commit and full_page_writes are off), because what a
// lab measures is the network and not the disk, and because a lab's data is
// thrown away with it. After a crash of the machine the cluster may be broken;
// removing the folder "data" mends that.
package productdb
