package world

import (
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/wire"
)

// build is a function's handler, as its main builds it, with its step inside
// around, if there is one.
func build(name string, f *wire.Function, around func(engine.Step) engine.Step) wire.Handler {
	if b, ok := otherFunctions[name]; ok {
		return b(f)
	}
	step := stepFunctions[name]
	if around == nil {
		return f.Step(name, step)
	}
	return f.Step(name, func(d deps.Deps) engine.Step { return around(step(d)) })
}
