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
	// prefix and tail stand around it in the warnings of postmap.
	prefix, tail string
	// anew marks a type whose file Postfix makes anew each time, so that it
	// does not keep its owner and mode.
	anew bool
	// format reads an indexed file.
	format func() *indexFormat
	// instead says what to use for a type of Postfix that we do not serve.
	instead string
	// remote marks types that a network peer answers: they are not for
	// security sensitive data.
	remote bool
	// wraps marks types whose inner tables fold keys themselves.
	wraps bool
}

// types has one row per table type, sorted by name.
var types = []Type{
	{Name: "btree", open: openBtree, write: writeBtree, suffix: ".db", tail: ".db", format: btreeFormat},
	{Name: "cdb", open: openCDB, write: writeCDB, suffix: ".cdb", anew: true, format: cdbFormat},
	{Name: "cidr", open: openCIDR},
	{Name: "dbm", instead: "use lmdb, cdb or hash instead"},
	{Name: "environ", open: openEnviron},
	{Name: "fail", open: openFail, write: writeFail},
	{Name: "hash", open: openHash, write: writeHash, suffix: ".db", tail: ".db", format: hashFormat},
	{Name: "inline", open: openInline},
	{Name: "internal", open: openInternal},
	{Name: "lmdb", open: openLMDB, write: writeLMDB, suffix: ".lmdb", prefix: "lmdb:", format: lmdbFormat},
	{Name: "mongodb", instead: "use mysql, pgsql, ldap or a file instead"},
	{Name: "netinfo", instead: "no system has it any more; use ldap or a file instead"},
	{Name: "nis", instead: "copy the map with ypcat(1) to a file for hash or lmdb, or use ldap"},
	{Name: "nisplus", instead: "no system has it any more; use ldap or a file instead"},
	{Name: "pcre", open: openPCRE},
	{Name: "regexp", open: openRegexp},
	{Name: "sdbm", instead: "use lmdb, cdb or hash instead"},
	{Name: "socketmap", open: openSocketmap, remote: true},
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
		{Name: "mysql", open: openMySQL},
		{Name: "pgsql", open: openPgSQL},
		{Name: "sqlite", open: openSQLite},
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
