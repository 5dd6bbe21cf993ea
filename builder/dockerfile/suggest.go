package dockerfile

import (
	"strings"

	"github.com/agext/levenshtein"
)

// instructionNames are those of the reference.
var instructionNames = []string{
	"ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER",
	"ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
}

// didYouMean gives " (did you mean X?)" for the name that is nearest, "" if none
// is near.
func didYouMean(typed string, names []string) string {
	best, score := "", 0.0
	for _, name := range names {
		if s := levenshtein.Match(strings.ToLower(typed), strings.ToLower(name), nil); s > score {
			best, score = name, s
		}
	}
	if score < .6 {
		return ""
	}
	return " (did you mean " + best + "?)"
}
