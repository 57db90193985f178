"""One command table and its faces: console, telnet, command line."""
