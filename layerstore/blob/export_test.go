package blob

// WholeSpans has all spans cached whole, the slow twin of pieces, or not.
func WholeSpans(whole bool) { wholeSpans = whole }
