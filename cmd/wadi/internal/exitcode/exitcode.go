// Package exitcode is for errors with which the process ends otherwise than by code 1.
package exitcode

// coded is an error with an exit code of its own, which main looks for.
type coded struct {
	error
	code int
}

// ExitCode is the process's.
func (c coded) ExitCode() int { return c.code }

func (c coded) Unwrap() error { return c.error }

// With returns the error with the exit code; nil stays nil.
func With(code int, err error) error {
	if err == nil {
		return nil
	}
	return coded{err, code}
}
