// Print prints its arguments and two variables. It is in images that tests
// make.
package main

import (
	"fmt"
	"os"
	"strings"
)

func main() {
	fmt.Println(strings.Join(os.Args[1:], " "), "FROM_IMAGE="+os.Getenv("FROM_IMAGE"), "FROM_LAB="+os.Getenv("FROM_LAB"))
}
