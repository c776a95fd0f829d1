//! Files of instances: what they really say, and what those who run have read.

use interlock_model::action::Command;
use interlock_model::file::FileWork;
use interlock_model::ids::OperationId;
use interlock_model::names::{LocalName, NodeName, ServiceName};
use interlock_model::plan::Digest;

use super::World;

/// One file of one instance.
#[derive(Debug, Clone, Default)]
pub(crate) struct FileOnDisk {
    /// What it says; none while it says what it said at the beginning.
    pub(crate) text: Option<Digest>,
    /// What the instance read when it came up.
    pub(crate) read: Option<Digest>,
    /// What it said before an operation wrote it, which operation that was.
    aside: Option<(OperationId, Option<Digest>)>,
}

impl World {
    /// An operation has done something with a file.
    pub(crate) fn file_changed(&mut self, node: &NodeName, by: OperationId, command: &Command) {
        let Command::File {
            service,
            file,
            work,
        } = command
        else {
            return;
        };
        let key = (service.clone(), file.clone());
        let on_disk = self.machine_mut(node).files.entry(key).or_default();
        match work {
            FileWork::Try(_) => {}
            FileWork::Write(text) => {
                if on_disk.aside.is_none_or(|(other, _)| other != by) {
                    on_disk.aside = Some((by, on_disk.text));
                }
                on_disk.text = Some(text.digest());
            }
            FileWork::Restore => {
                if let Some((_, before)) = on_disk.aside.filter(|(other, _)| *other == by) {
                    on_disk.text = before;
                }
            }
        }
    }

    /// An instance comes up with what its files say.
    pub(super) fn files_are_read(&mut self, node: &NodeName, service: &ServiceName) {
        for ((of, _), file) in &mut self.machine_mut(node).files {
            if of == service {
                file.read = file.text;
            }
        }
    }

    /// A file of an instance.
    pub(crate) fn file(
        &self,
        node: &NodeName,
        service: &ServiceName,
        file: &LocalName,
    ) -> FileOnDisk {
        let key = (service.clone(), file.clone());
        let on_disk = self.machine(node).files.get(&key);
        on_disk.cloned().unwrap_or_default()
    }
}
