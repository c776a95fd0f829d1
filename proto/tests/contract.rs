//! The wire contract: what every RPC owes its reader, and what must not change by accident.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot read its own descriptor has failed"
)]

use std::fmt::Write as _;
use std::path::Path;

use prost::Message as _;
use prost_types::{DescriptorProto, FileDescriptorProto, FileDescriptorSet};

fn own_files() -> Vec<FileDescriptorProto> {
    let set = FileDescriptorSet::decode(interlock_proto::FILE_DESCRIPTOR_SET).unwrap();
    set.file
        .into_iter()
        .filter(|file| file.package() == "interlock.v1")
        .collect()
}

/// The comment that stands before the element at `path` (descriptor.proto, SourceCodeInfo).
fn comment<'a>(file: &'a FileDescriptorProto, path: &[i32]) -> &'a str {
    let info = file.source_code_info.as_ref().unwrap();
    info.location
        .iter()
        .find(|location| location.path == path)
        .map_or("", |location| location.leading_comments())
}

#[test]
fn every_rpc_says_when_it_works_for_whom_and_its_bounds() {
    let mut missing = Vec::new();
    let mut count = 0;
    for file in own_files() {
        for (at, service) in file.service.iter().enumerate() {
            for (index, method) in service.method.iter().enumerate() {
                count += 1;
                let text = comment(&file, &[6, at as i32, 2, index as i32]);
                for word in ["Role: ", "Deadline: ", "Size: "] {
                    if !text.contains(word) {
                        missing.push(format!(
                            "{}.{} lacks '{word}'",
                            service.name(),
                            method.name()
                        ));
                    }
                }
                if text.lines().count() < 2 {
                    missing.push(format!(
                        "{}.{} does not say what it does",
                        service.name(),
                        method.name()
                    ));
                }
            }
        }
    }
    assert!(count > 15, "the descriptor has only {count} methods");
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn every_enumeration_begins_with_a_value_that_means_nothing_good() {
    for file in own_files() {
        for enumeration in &file.enum_type {
            let first = enumeration.value.first().unwrap();
            assert_eq!(first.number(), 0);
            assert!(first.name().ends_with("_UNSPECIFIED"), "{}", first.name());
        }
    }
}

/// What a peer of another version relies on: names, numbers, types. Removing or changing a line breaks it; adding
/// lines does not. `BLESS=1 cargo test -p interlock-proto` rewrites the file after an addition.
#[test]
fn the_contract_only_grows() {
    let mut now = String::new();
    for file in own_files() {
        for message in &file.message_type {
            fields(&mut now, "", message);
        }
        for enumeration in &file.enum_type {
            for value in &enumeration.value {
                writeln!(
                    now,
                    "enum {} {} = {}",
                    enumeration.name(),
                    value.name(),
                    value.number()
                )
                .unwrap();
            }
        }
        for service in &file.service {
            for method in &service.method {
                let stream = |yes: bool| if yes { "stream " } else { "" };
                writeln!(
                    now,
                    "rpc {}.{} {}{} -> {}{}",
                    service.name(),
                    method.name(),
                    stream(method.client_streaming()),
                    method.input_type(),
                    stream(method.server_streaming()),
                    method.output_type()
                )
                .unwrap();
            }
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("interlock/v1/contract.lock");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let locked = std::fs::read_to_string(&path).unwrap();
    let gone: Vec<&str> = locked
        .lines()
        .filter(|line| !now.lines().any(|other| other == *line))
        .collect();
    assert!(
        gone.is_empty(),
        "removed or changed, which breaks peers of another version:\n{}",
        gone.join("\n")
    );
    assert_eq!(
        locked.lines().count(),
        now.lines().count(),
        "the contract grew: run with BLESS=1 and commit the lock file"
    );
}

fn fields(out: &mut String, outer: &str, message: &DescriptorProto) {
    let name = format!("{outer}{}", message.name());
    for field in &message.field {
        writeln!(
            out,
            "field {name}.{} = {} {:?} {:?} {}",
            field.name(),
            field.number(),
            field.label(),
            field.r#type(),
            field.type_name()
        )
        .unwrap();
    }
    for nested in &message.nested_type {
        fields(out, &format!("{name}."), nested);
    }
}
