"""The files of a user's project: profiles, which write `params.yaml`, and the repair of DVC's files."""
