package main

import (
	"github.com/spf13/cobra"
)

// newRoot gives the command tree. Each command is in a file of its own name.
func newRoot(std streams) *cobra.Command {
	var tellVersion bool
	root := &cobra.Command{
		Use:   "mica COMMAND",
		Short: "Mount container images as they are and look inside",
		Long: `mica mounts a container image as a directory: any image as it is, without
unpacking it, without a daemon, without being root. ls, grep and scanners then
read it like any other directory; only what they read is ever decompressed.

An IMAGE is a path to an OCI layout or to an archive that docker, podman or
skopeo wrote, with :TAG, :@NUMBER or @DIGEST where it holds several; or the name
of one in the store, which is fetched from its registry if it is not there.`,
		Example: `  mica demo                                # an image to try, made on the spot
  mica mount debian.tar m && ls m/etc      # docker save's output, mounted in place
  mica ls oci:/srv/images:web /usr/bin     # no mount needed`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if tellVersion {
				return printVersion(std)
			}
			return cmd.Help()
		},
	}
	root.Flags().BoolVar(&tellVersion, "version", false, "the same as mica version")
	root.SetIn(std.in)
	root.SetOut(std.out)
	root.SetErr(std.err)
	root.SetFlagErrorFunc(flagError)
	root.SetHelpFunc(help)
	root.SetHelpCommand(newHelp())
	root.CompletionOptions.DisableDefaultCmd = true
	root.SuggestionsMinimumDistance = 2
	root.DisableFlagsInUseLine = true
	addChoice(root.PersistentFlags(), &choice{}, logFormat, "how messages are written", "text", "json")
	for _, g := range []struct {
		title    string
		commands []*cobra.Command
	}{
		{"Mount an image:", []*cobra.Command{
			newMount(std),
			newUmount(std),
			newWith(std),
			newMounts(std),
			newStats(std),
			newUpgrade(std),
		}},
		{"Look inside without a mount:", []*cobra.Command{
			newLs(std),
			newCat(std),
			newCp(std),
			newStat(std),
			newTree(std),
			newFind(std),
			newGrep(std),
			newExport(std),
		}},
		{"What an image is made of:", []*cobra.Command{
			newInspect(std),
			newLayers(std),
			newHistory(std),
			newWhich(std),
			newDiff(std),
			newReset(std),
			newWaste(std),
			newVerify(std),
			newIndex(std),
		}},
		{"Images of the store:", []*cobra.Command{
			newPull(std),
			newPush(std),
			newImages(std),
			newLoad(std),
			newSave(std),
			newCopy(std),
			newImport(std),
			newCommit(std),
			newSquash(std),
			newEdit(std),
			newTag(std),
			newUntag(std),
			newRmi(std),
			newPrune(std),
			newDF(std),
			newLogin(std),
			newLogout(std),
		}},
		{"Containers:", []*cobra.Command{
			newBuild(std),
			newRun(std),
			newCreate(std),
			newExec(std),
			newLogs(std),
			newAttach(std),
			newStart(std),
			newStop(std),
			newRestart(std),
			newKill(std),
			newPause(std),
			newUnpause(std),
			newWait(std),
			newPs(std),
			newTop(std),
			newRm(std),
			newRename(std),
			newUpdate(std),
			newExplain(std),
		}},
		{"About mica:", []*cobra.Command{
			newDemo(std),
			newDoctor(std),
			newInfo(std),
			newVersion(std),
			newCompletion(std),
		}},
	} {
		root.AddGroup(&cobra.Group{ID: g.title, Title: g.title})
		for _, c := range g.commands {
			c.GroupID = g.title
			c.DisableFlagsInUseLine = true
			strictly(c)
			completeChoices(c)
			root.AddCommand(c)
		}
	}
	return root
}

// logFormat is the flag that has failures told as JSON.
const logFormat = "log-format"

func wantsJSON(root *cobra.Command) bool {
	return root.PersistentFlags().Lookup(logFormat).Value.String() == "json"
}
