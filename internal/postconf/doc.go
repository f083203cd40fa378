// Package postconf reads the configuration: main.cf and master.cf with the
// grammar, the defaults, the computed values and the errors of Postfix 3.11. It
// is what every Postfix program does with its parameters before it does
// anything else, and what postconf(1) shows.
//
// Load reads the two files into an immutable Config. A View is the Config as
// one service sees it: master.cf "-o" settings over main.cf over the built-in
// defaults. A room asks a View to Decode its Settings struct, or asks for
// single values.
//
// Invariants:
//
//  1. A Config and a View never change after they were made; any number of
//     goroutines may read them. A reload makes a new Config.
//  2. The table of rows (rows_*.go) is the only place where the name, the
//     default, the type and the bounds of a parameter are written.
//  3. All problems of a configuration are reported in one go, each with the file
//     and the line. What Postfix refuses is fatal; what it warns about is not.
//  4. Nothing in a file can make expansion run away: its depth, its number of
//     steps and the size of its result are bounded.
//  5. A name that is not known is never an error: it may be the site's own.
package postconf
