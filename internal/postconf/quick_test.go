package postconf
import ("testing";"fmt")
func TestQuick(t *testing.T){
 v:=Defaults()
 for _,n:=range []string{"myhostname","mydomain","mynetworks","smtpd_timeout","syslog_name","relay_domains","smtpd_relay_restrictions","smtp_tls_security_level","smtp_requiretls_policy"}{ s,err:=v.Value(n); fmt.Println(n,"=",s,err)}
 Params(func(p *Param){ s,err:=v.Value(p.Name); if err!=nil {t.Error(p.Name,err)}; if err:=p.Check(s);err!=nil{t.Error(err)}})
 v=v.With("compatibility_level","3.11").With("stress","yes")
 for _,n:=range []string{"myhostname","mydomain","mynetworks","smtpd_timeout","syslog_name","relay_domains","smtpd_relay_restrictions","smtp_tls_security_level"}{ s,err:=v.Value(n); fmt.Println(n,"=",s,err)}
}
