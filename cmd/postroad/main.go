// Command postroad is the mail server and all of its commands.
package main

func main() {}
