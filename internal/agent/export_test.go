package agent

// SetPasswd makes local(8) read another user database.
func SetPasswd(a Agent, path string) {
	if f, ok := a.(*filtered); ok {
		a = f.Agent
	}
	a.(*local).passwd = &passwd{path: path}
}
