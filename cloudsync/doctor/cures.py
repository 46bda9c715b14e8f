"""What to do about a right that the archive's credential lacks, or has too many of: as each kind of archive calls it."""

from __future__ import annotations

from cloudsync.archive.attempt import Harm

_NEW_SAS = (
    "Make a new SAS of the container with the permissions read, create and list alone (sp=rcl), put it into archive.credential_file, and "
    "revoke the old one by rotating the account key (or the stored access policy) that signed it."
)
_FOLDER = (
    "Keep a second copy that this box cannot reach: snapshots that the NAS makes by itself, a copy of the directory on a disk in the safe, "
    "or an archive in Azure Blob Storage, S3 or Google Cloud Storage."
)
_POLICY = (
    "Give the bucket the policy of docs/operations-archive.md, which refuses every put without If-None-Match. A service that has no such "
    "condition, or passes over the header, is no archive for Outpost: use another one."
)
_ROLES = "Leave the service account the roles objectCreator and objectViewer on the bucket (roles/storage.*), and take away all others."

_TAKE_AWAY: dict[str, dict[Harm, str]] = {
    "azure_blob": {
        "overwrite": f"Take away the permission write (w; with an account SAS also t, i and p). {_NEW_SAS}",
        "delete": f"Take away the permissions delete (d), delete version (x) and permanent delete (y). {_NEW_SAS}",
    },
    "folder": {"overwrite": _FOLDER, "delete": _FOLDER},
    "s3": {
        "overwrite": _POLICY,
        "delete": "Leave the user s3:PutObject, s3:GetObject, s3:GetObjectVersion and s3:ListBucket, and take away s3:DeleteObject.",
    },
    "gcs": {"overwrite": _ROLES, "delete": _ROLES},
}
_GIVE: dict[str, dict[str, str]] = {
    "azure_blob": {
        "write": "Renew the credential; a SAS needs the permission create (c).",
        "read": "Renew the credential; a SAS needs the permission read (r).",
        "list": "Renew the credential; a SAS needs the permission list (l), without which there is no rebuild and no `outpost verify`.",
    },
    "folder": {
        "write": "The folder has to be writable for cloudsync's user.",
        "read": "The folder has to be readable for cloudsync's user.",
        "list": "The folder has to be readable for cloudsync's user.",
    },
    "s3": {
        "write": "Give the user s3:PutObject on the bucket's objects, or renew the access key.",
        "read": "Give the user s3:GetObject on the bucket's objects, or renew the access key.",
        "list": "Give the user s3:ListBucket on the bucket, without which there is no rebuild and no `outpost verify`.",
    },
    "gcs": {
        "write": "Give the service account the role objectCreator on the bucket, or renew its key.",
        "read": "Give the service account the role objectViewer on the bucket, or renew its key.",
        "list": "Give the service account the role objectViewer on the bucket, without which there is no rebuild and no `outpost verify`.",
    },
}


def give(kind: str, verb: str) -> str:
    """How the credential comes by the right to write, read or list; `kind` is that of the settings."""
    return _GIVE[kind][verb]


def take_away(kind: str, harm: Harm) -> str:
    """How it loses the right to do harm."""
    return _TAKE_AWAY[kind][harm]
