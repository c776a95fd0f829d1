//! jtel's call centre on real hosts: every machine boots systemd, every unit is a real one, power goes through BMCs and
//! the real `fence_ipmilan`, and the specs are those of `deploy/clusters`, with the lab's addresses in them.
//!
//! | part | what runs |
//! |---|---|
//! | share | Samba, mounted by the consumers with smbnetfs |
//! | load balancers | HAProxy; the virtual address is moved by a stand-in for pcs |
//! | databases | MariaDB: a master that takes the writes, a standby and two slaves that replicate from it |
//! | web, telephony | stand-ins for the closed products, which log in to the database and read the share |
//! | Interlock | the real programs, installed as the README says |

mod hosts;
mod killed;
mod large;
mod single;
mod site;
mod small;
mod trouble;

use interlock_e2e::cluster::{BOOT, SOON};
