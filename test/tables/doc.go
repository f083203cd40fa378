// Package tables runs a whole Postroad on the lookup tables of real databases, and
// takes the databases away while mail flows.
package tables
