package deploy

import (
	"context"
	"path/filepath"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// root is the project's folder, seen from a package below test.
const root = "../.."

// Compose reads docker-compose.yml as Compose does, with these profiles ("*" is all) and with these variables as
// in VARIABLE=value; a developer's own variables and .env file don't count.
func Compose(ctx context.Context, profiles, environ []string) (*types.Project, error) {
	options, err := cli.NewProjectOptions([]string{filepath.Join(root, "docker-compose.yml")},
		cli.WithEnv(environ), cli.WithProfiles(profiles))
	if err != nil {
		return nil, err
	}
	return options.LoadProject(ctx)
}
