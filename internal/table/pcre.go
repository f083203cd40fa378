package table

// pcreFlags are the letters of a pcre: pattern and what they toggle.
const pcreFlags = "imsxAEU"

// openPCRE opens pcre:path or pcre:{ {rule}, ... }.
func openPCRE(name string, o *Options) (Table, error) {
	return openRules("pcre", name, o, func(lines []logicalLine, o *Options) Table {
		return parsePatterns(newPCRE(), name, lines, o)
	})
}

// newPCRE returns the engine of one table.
func newPCRE() *engine {
	run := &pcreEngine{}
	bits := [len(pcreFlags)]uint32{pcreCaseless, pcreMultiLine, pcreDotAll, pcreExtended, pcreAnchored, pcreDollarEndOnly, pcreUngreedy}
	e := &engine{typ: "pcre", flags: pcreFlags, outOfRange: "out of range", obsolete: "X"}
	e.compile = func(pattern string, toggled uint32) (matcher, error) {
		options := uint32(pcreCaseless | pcreDotAll)
		for i, bit := range bits {
			if toggled&(1<<i) != 0 {
				options ^= bit
			}
		}
		return run.compile(pattern, options)
	}
	return e
}
