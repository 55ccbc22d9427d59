"""CodeConnections: connections to providers of Git repositories, whose repositories are here, too."""
