// Command postroad is the mail server and all of its commands.
package main

import (
	"os"

	"postroad/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args, cli.Host{})) }
