// Package harness gives tests the real things that Wadi runs on: a private
// Postgres cluster, a MinIO server and agents as processes of their own.
//
// What it starts lives in a temporary folder, listens on 127.0.0.1 only, has
// random passwords, and ends with the test process: stopped by [Main], or, when
// the process dies before that, killed by the kernel (Linux) and its folder removed
// by the next run. A test that needs a program which is not installed skips
// and says how to get it; with CI=true or WADI_TEST_REQUIRE=1 it fails instead,
// so that nothing is ever skipped unseen there.
//
// A package that uses the harness has
//
//	func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
//
// The harness runs the agent's binary and never imports its packages, so that
// every package of the project may use it in its tests. It works on Unix only.
package harness
