package postconf

// rowsOurs are the parameters that Postfix does not have. They are known
// everywhere, and listed by postconf when main.cf sets them.
var rowsOurs = []Param{
	{"postroad_metrics_listen", "", String, 0, 0, 0, Planned, ""},
}
