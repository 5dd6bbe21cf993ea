package main

var applets = map[string]func(args []string, std streams) int{}
