//! Whole systems on real hosts, by their shipped specs as they are: every machine boots systemd, every unit is a real one, and
//! power goes through BMCs and the real `fence_ipmilan`. The hosts have the addresses of the specs, in a network of the lab's.
//!
//! | part | MSTR | HCDC |
//! |---|---|---|
//! | stores | Debian's Redis and PostgreSQL | the same; the share is Samba's, mounted by smbnetfs: hosts have no NFS |
//! | load balancer | Debian's nginx | Debian's HAProxy, without TLS |
//! | product | stand-ins, which live on the stores | the same, and on the share |
//! | Interlock | the real programs, installed as the README says | the same |
//!
//! Other than in the shipped specs are: the power source, in both; in HCDC the version in the name of PostgreSQL's unit, the type
//! and source of the mounted share, and that its check does not write (smbnetfs has no fsync).

mod hcdc;
mod hosts;
mod mstr;
