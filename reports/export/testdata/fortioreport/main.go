// Command fortioreport is what "fortio report" is: Fortio's own pages, with
// the data of a directory. A test builds it, because they need to be a program
// of their own.
package main

import (
	"fmt"
	"os"

	"fortio.org/fortio/ui"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: fortioreport DIRECTORY")
		os.Exit(2)
	}
	if !ui.Report("", "127.0.0.1:0", os.Args[1]) { // it says its address
		os.Exit(1)
	}
	select {}
}
