package table

import "context"

// watchKey is the key of the one who watches lookups, in a context.
type watchKey struct{}

// Watch returns a context in which f is told of everything that maps and lists of
// a parameter find, for whoever wants to explain a decision.
func Watch(ctx context.Context, f func(param string, hit Hit)) context.Context {
	return context.WithValue(ctx, watchKey{}, f)
}

// tell tells the watcher of ctx, if there is one.
func tell(ctx context.Context, param string, hit Hit) {
	if f, ok := ctx.Value(watchKey{}).(func(string, Hit)); ok {
		f(param, hit)
	}
}
