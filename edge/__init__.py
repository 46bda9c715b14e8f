"""The LAN side of Outpost: receives, keeps, finds and serves instances. It works without the cloud and holds no archive key."""
