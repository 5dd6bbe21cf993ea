module mica

go 1.26
