//! The table of `interlock.v1` against the compiled protos.

use std::collections::BTreeMap;

use interlock_mesh::authz::{Access, DuplicateMethod, Table};
use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet};

/// Services that come with the transport; they have no proto of ours.
const FOREIGN: [&str; 2] = ["/grpc.health.v1.", "/grpc.reflection."];

/// Field numbers of `FileDescriptorProto.service` and `ServiceDescriptorProto.method` in descriptor.proto: together
/// with two indexes they are the path of a method's comment.
const SERVICE: i32 = 6;
const METHOD: i32 = 2;

/// Every method of the protos with its comment.
fn methods() -> BTreeMap<String, String> {
    let set = FileDescriptorSet::decode(interlock_proto::FILE_DESCRIPTOR_SET).unwrap();
    let mut methods = BTreeMap::new();
    for file in set
        .file
        .iter()
        .filter(|file| file.package().starts_with("interlock."))
    {
        for (s, service) in (0..).zip(&file.service) {
            for (m, method) in (0..).zip(&service.method) {
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                methods.insert(path, comment(file, &[SERVICE, s, METHOD, m]));
            }
        }
    }
    methods
}

fn comment(file: &FileDescriptorProto, path: &[i32]) -> String {
    let locations = file.source_code_info.iter().flat_map(|info| &info.location);
    let comment = locations
        .filter(|location| location.path == path)
        .find_map(|at| at.leading_comments.clone());
    comment.unwrap_or_default()
}

/// The table's rows without the foreign services.
fn rows() -> BTreeMap<String, Access> {
    let own = |path: &str| !FOREIGN.iter().any(|prefix| path.starts_with(prefix));
    Table::interlock_v1()
        .rows()
        .filter(|(path, _)| own(path))
        .map(|(path, access)| (path.to_owned(), access))
        .collect()
}

#[test]
fn every_method_has_a_row_and_every_row_a_method() {
    let methods: Vec<String> = methods().into_keys().collect();
    let rows: Vec<String> = rows().into_keys().collect();
    assert!(!methods.is_empty(), "the descriptor set holds services");
    let missing: Vec<_> = methods
        .iter()
        .filter(|method| !rows.contains(method))
        .collect();
    let stale: Vec<_> = rows.iter().filter(|row| !methods.contains(row)).collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "missing in the table: {missing:?}; stale: {stale:?}"
    );
}

#[test]
fn each_row_admits_whom_the_methods_comment_names() {
    let rows = rows();
    for (path, comment) in methods() {
        let role = comment
            .split("Role: ")
            .nth(1)
            .unwrap_or_else(|| panic!("{path} states no role:\n{comment}"));
        let role: String = role.chars().take_while(char::is_ascii_alphabetic).collect();
        let stated = match role.as_str() {
            "agent" => Access::AGENTS,
            "coordinator" => Access::COORDINATORS,
            "reader" => Access::READERS,
            "operator" => Access::OPERATORS,
            "admin" => Access::ADMINS,
            other => panic!("{path} states a role that does not exist: {other:?}"),
        };
        assert_eq!(rows.get(&path), Some(&stated), "{path}");
    }
}

#[test]
fn the_foreign_services_are_open_to_members_under_their_real_names() {
    let table = Table::interlock_v1();
    let reader = crate::support::READER.parse().unwrap();
    let agent = crate::support::AGENT.parse().unwrap();
    let health = tonic_health::pb::health_server::SERVICE_NAME;
    for path in [
        format!("/{health}/Check"),
        format!("/{health}/Watch"),
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo".to_owned(),
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo".to_owned(),
    ] {
        assert!(
            table.check(&reader, &path).is_ok() && table.check(&agent, &path).is_ok(),
            "{path}"
        );
    }
}

#[test]
fn no_method_stands_in_the_table_twice() {
    assert_eq!(
        Table::new(Table::interlock_v1().rows()),
        Ok(Table::interlock_v1())
    );
    let twice = Table::new([("/a.B/C", Access::READERS), ("/a.B/C", Access::READERS)]);
    assert_eq!(twice, Err(DuplicateMethod("/a.B/C")));
}
