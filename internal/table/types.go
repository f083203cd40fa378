package table

import "slices"

// Type is a row of the list of table types.
type Type struct {
	// Name is the word before the colon.
	Name string
	// open is nil for a type that Postfix has and we do not have yet.
	open func(name string, o *Options) (Table, error)
	// write makes the file of a table from its entries; nil when postmap
	// cannot make tables of this type.
	write func(path string, entries []Entry, o WriteOptions) error
	// suffix is what postmap appends to the name of the source file.
	suffix string
	// remote marks types that a network peer answers: they are not for
	// security sensitive data.
	remote bool
	// wraps marks types whose inner tables fold keys themselves.
	wraps bool
}

// types has one row per table type, sorted by name.
var types = []Type{
	{Name: "btree", open: openBtree, write: writeBtree, suffix: ".db"},
	{Name: "cdb"},
	{Name: "cidr", open: openCIDR},
	{Name: "dbm"},
	{Name: "environ", open: openEnviron},
	{Name: "fail", open: openFail, write: writeFail},
	{Name: "hash", open: openHash, write: writeHash, suffix: ".db"},
	{Name: "inline", open: openInline},
	{Name: "internal"},
	{Name: "lmdb"},
	{Name: "mongodb"},
	{Name: "mysql"},
	{Name: "netinfo"},
	{Name: "nis"},
	{Name: "nisplus"},
	{Name: "pcre", open: openPCRE},
	{Name: "pgsql"},
	{Name: "regexp", open: openRegexp},
	{Name: "sdbm"},
	{Name: "socketmap", open: openSocketmap, remote: true},
	{Name: "sqlite"},
	{Name: "static", open: openStatic},
	{Name: "tcp", open: openTCP, remote: true},
	{Name: "texthash", open: openTexthash},
	{Name: "unix", open: openUnix},
}

// wrappers has the types that are made of other tables. They stand apart from
// types because opening one opens others.
func wrappers() []Type {
	return []Type{
		{Name: "debug", open: openDebug, wraps: true},
		{Name: "pipemap", open: openPipe, wraps: true},
		{Name: "proxy", open: openProxy, wraps: true},
		{Name: "randmap", open: openRandom, wraps: true},
		{Name: "unionmap", open: openUnion, wraps: true},
	}
}

// databases has the types that make a query from the key. They stand apart from
// types because opening one opens the tables of its domain list.
func databases() []Type {
	return []Type{
		{Name: "ldap", open: openLDAP},
		{Name: "memcache", open: openMemcache, remote: true},
	}
}

// FindType returns the row of a type; known is false for a word that neither
// Postfix nor Postroad knows.
func FindType(name string) (t Type, known bool) {
	for _, list := range [][]Type{types, wrappers(), databases()} {
		i := slices.IndexFunc(list, func(t Type) bool { return t.Name == name })
		if i >= 0 {
			return list[i], true
		}
	}
	return Type{}, false
}

// Types returns the names of the types that can be opened, sorted (postconf -m).
func Types() []string {
	var names []string
	for _, t := range slices.Concat(types, wrappers(), databases()) {
		if t.open != nil {
			names = append(names, t.Name)
		}
	}
	slices.Sort(names)
	return names
}
