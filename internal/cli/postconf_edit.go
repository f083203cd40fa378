package cli

import (
	"path/filepath"
	"slices"

	"postroad/internal/postconf"
)

// editMode returns the mode of the edit that the options ask for.
func (p *postconfCmd) editMode() postconf.EditMode {
	switch {
	case p.mode&pcComment != 0:
		return postconf.EditComment
	case p.mode&pcDelete != 0:
		return postconf.EditDelete
	}
	return postconf.EditSet
}

// editMain edits main.cf.
func (p *postconfCmd) editMain() error {
	var edits []postconf.MainEdit
	for _, arg := range p.args {
		e, err := postconf.ParseMainEdit(p.editMode(), arg)
		if err != nil {
			// Requests that replace each other were read before the wrong one.
			_, warnings := postconf.EditMain("", nil, p.editMode(), edits)
			p.warn(warnings)
			return err
		}
		edits = append(edits, e)
	}
	file := filepath.Join(p.dir, "main.cf")
	return p.replace(file, func(old []byte) ([]byte, []string, error) {
		text, warnings := postconf.EditMain(file, old, p.editMode(), edits)
		return text, warnings, nil
	})
}

// editMaster edits master.cf.
func (p *postconfCmd) editMaster() error {
	part := postconf.WholeEntry
	switch {
	case p.mode&pcField != 0:
		part = postconf.EntryField
	case p.mode&pcParam != 0:
		part = postconf.EntryParam
	}
	var edits []postconf.MasterEdit
	for _, arg := range p.args {
		e, err := postconf.ParseMasterEdit(p.editMode(), part, arg)
		if err != nil {
			return err
		}
		edits = append(edits, e)
	}
	file := filepath.Join(p.dir, "master.cf")
	return p.replace(file, func(old []byte) ([]byte, []string, error) {
		return postconf.EditMaster(file, old, p.editMode(), part, edits)
	})
}

// replace replaces a file and writes the warnings of the change.
func (p *postconfCmd) replace(file string, change func([]byte) ([]byte, []string, error)) error {
	var warnings []string
	err := postconf.ReplaceFile(file, func(old []byte) (text []byte, err error) {
		text, warnings, err = change(old)
		return text, err
	})
	p.warn(warnings)
	return err
}

// warn writes warnings.
func (p *postconfCmd) warn(warnings []string) {
	for _, w := range warnings {
		p.Warnf("%s", w)
	}
}

// sortedOverrides returns the names with their values, sorted, each name once.
func sortedOverrides(names []string, values map[string]string) []postconf.Override {
	names = slices.Clone(names)
	slices.Sort(names)
	names = slices.Compact(names)
	out := make([]postconf.Override, len(names))
	for i, name := range names {
		out[i] = postconf.Override{Name: name, Value: values[name]}
	}
	return out
}
