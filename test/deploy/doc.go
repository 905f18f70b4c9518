// Package deploy reads what people start Wadi with (docker-compose.yml and the folder deploy), so
// that tests run the same files as they do: with the implementations' own parsers and programs, and addresses
// of 127.0.0.1 in place of names. Its own tests check that these files are sound and agree with each
// other; that the whole works is for test/e2e to show.
//
// There is no Docker here: whether an image can be pulled is nobody's test.
package deploy
