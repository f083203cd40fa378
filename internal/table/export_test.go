package table

// Staff is the directory of the LDAP tests, for the conformance kit.
func Staff() *FakeLDAP { return staff() }
