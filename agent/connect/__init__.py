"""The mesh on one host: certificate authority, leaf certificates, and the sidecars' processes."""
