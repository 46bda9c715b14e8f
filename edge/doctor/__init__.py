"""What `outpost doctor` looks at on the LAN side: disk, ports, peers, certificate, and how far the processes are shut in."""
