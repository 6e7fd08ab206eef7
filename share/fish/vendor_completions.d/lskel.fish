lskel completion fish | source
