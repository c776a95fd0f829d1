//! Messages in which every field is set, so that whatever is printed of them is printed.

use interlock_proto::FILE_DESCRIPTOR_SET;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};

/// How deep messages are nested; no message of the contract is as deep.
const DEEPEST: usize = 12;

/// A message of this name, in `interlock.v1`: numbers are 1, texts `x`, each list has one element, flags are set. Of a oneof
/// the last one counts.
pub(crate) fn filled<T: Message + Default>(name: &str) -> T {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    let messages: Vec<DescriptorProto> = set
        .file
        .into_iter()
        .filter(|file| file.package() == "interlock.v1")
        .flat_map(|file| file.message_type)
        .collect();
    T::decode(encoded(&messages, name, 0).as_slice()).unwrap()
}

fn encoded(messages: &[DescriptorProto], name: &str, depth: usize) -> Vec<u8> {
    assert!(depth < DEEPEST, "{name} is nested in itself");
    let short = name.rsplit('.').next().unwrap();
    let found = messages.iter().find(|message| message.name() == short);
    let found = found.unwrap_or_else(|| panic!("there is no message {name}"));
    let mut bytes = Vec::new();
    for field in &found.field {
        write(messages, field, depth, &mut bytes);
    }
    bytes
}

fn write(
    messages: &[DescriptorProto],
    field: &FieldDescriptorProto,
    depth: usize,
    bytes: &mut Vec<u8>,
) {
    let number = u32::try_from(field.number()).unwrap();
    let delimited = |content: &[u8], bytes: &mut Vec<u8>| {
        encode_key(number, WireType::LengthDelimited, bytes);
        encode_varint(content.len() as u64, bytes);
        bytes.extend_from_slice(content);
    };
    match field.r#type() {
        Type::String | Type::Bytes => delimited(b"x", bytes),
        // A map is a list of messages that the descriptor nests: nothing that is printed has one.
        Type::Message if field.type_name().matches('.').count() > 3 => {}
        Type::Message => {
            let content = encoded(messages, field.type_name(), depth + 1);
            delimited(&content, bytes);
        }
        Type::Uint64 | Type::Uint32 | Type::Int64 | Type::Int32 | Type::Bool | Type::Enum => {
            encode_key(number, WireType::Varint, bytes);
            encode_varint(1, bytes);
        }
        other => panic!("{}: {other:?} is not known here", field.name()),
    }
}
