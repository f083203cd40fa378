package postconf

// rowsOurs are the parameters that Postfix does not have. They are known
// everywhere, and listed by postconf when main.cf sets them.
var rowsOurs = []Param{
	{"postroad_metrics_listen", "", String, 0, 0, 0, Planned, ""},
	{"postroad_sasl_failure_limit", "0", Int, 0, 0, 0, Planned, ""},
	{"postroad_sasl_failure_window", "600s", Time, 's', 1, 0, Planned, ""},
	{"postroad_sasl_mechanisms", "plain, login", String, 0, 1, 0, Planned, ""},
	// For ${postroad_version?{...}}, which Postfix expands to nothing.
	{"postroad_version", "0.1.0", String, 0, 1, 0, Planned, ""},
}
