package privdeliver

import (
	"fmt"
	"os/user"
	"strconv"
	"strings"
)

// Account resolves "user" or "user:group" to numbers.
func Account(text string) (uid, gid int, err error) {
	name, group, _ := strings.Cut(text, ":")
	u, err := user.Lookup(name)
	if err != nil {
		return 0, 0, fmt.Errorf("unknown user name: %s", name)
	}
	number := u.Gid
	if group != "" {
		g, err := user.LookupGroup(group)
		if err != nil {
			return 0, 0, fmt.Errorf("unknown group name: %s", group)
		}
		number = g.Gid
	}
	if uid, err = strconv.Atoi(u.Uid); err != nil {
		return 0, 0, err
	}
	gid, err = strconv.Atoi(number)
	return uid, gid, err
}
