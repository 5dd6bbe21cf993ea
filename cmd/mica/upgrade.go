package main

import (
	"os"

	"github.com/spf13/cobra"

	"mica/fs"
)

func newUpgrade(std streams) *cobra.Command {
	var flags imageFlags
	var all bool
	cmd := &cobra.Command{
		Use:   "upgrade [flags] DIR…|--all",
		Short: "Have this version of mica take over mounts",
		Long: `Upgrade replaces the processes that serve the mount at each DIR by those of
this program, while it is in use: no reader notices. It is for after an update of
mica, whose old version goes on serving what it has mounted. If the new server
does not come up, the old one stays.`,
		Example: `  mica upgrade m
  mica upgrade --all`,
		ValidArgsFunction: flags.completeMounted,
		Args:              dirsOrAll(&all),
		RunE: func(cmd *cobra.Command, dirs []string) error {
			mounts, err := flags.mounts()
			if err != nil {
				return err
			}
			if all {
				for _, m := range mounts {
					if ownMount(m) {
						dirs = append(dirs, m.Dir)
					}
				}
			}
			var failed []error
			for _, dir := range dirs {
				if err := upgrade(dir, mounts); err != nil {
					failed = append(failed, &argError{dir, err})
				}
			}
			return tellAll(cmd, std, failed)
		},
	}
	flags.addRoot(cmd.Flags())
	cmd.Flags().BoolVarP(&all, "all", "a", false, "all mounts of this user")
	return cmd
}

func upgrade(dir string, mounts []fs.Info) error {
	m, _, err := mountedAt(dir, mounts)
	if err != nil {
		return err
	}
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer self.Close()
	return fs.Upgrade(m, self)
}
