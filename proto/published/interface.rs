//! The interface as its descriptors tell it, with the comments in place.

use artifactd_proto::{
    published::{Comments, files},
    v1::ErrorReason,
};
use prost_types::{
    DescriptorProto, FieldDescriptorProto,
    field_descriptor_proto::{Label, Type},
    method_options::IdempotencyLevel,
};

use crate::repeats::Repeats;

/// Everything of `artifactd.v1`.
pub(crate) struct Interface {
    pub(crate) files: Vec<File>,
}

/// One file of the protos, and one page of the reference.
pub(crate) struct File {
    /// `artifact_service`, say.
    pub(crate) stem: String,
    pub(crate) services: Vec<Service>,
    pub(crate) messages: Vec<Message>,
    pub(crate) enums: Vec<Enum>,
}

pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) comment: String,
    pub(crate) methods: Vec<Method>,
}

pub(crate) struct Method {
    pub(crate) name: String,
    pub(crate) comment: String,
    pub(crate) request: Type_,
    pub(crate) answer: Type_,
    pub(crate) reasons: Vec<String>,
    pub(crate) repeats: Repeats,
}

/// A message that travels, one or many.
pub(crate) struct Type_ {
    pub(crate) name: String,
    pub(crate) is_stream: bool,
}

pub(crate) struct Message {
    pub(crate) name: String,
    pub(crate) comment: String,
    pub(crate) fields: Vec<Field>,
}

pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) number: i32,
    pub(crate) comment: String,
    /// `optional` or `repeated`, where it is one of them.
    pub(crate) label: &'static str,
    /// A scalar, or the name of a message or enum: `artifactd.v1.Artifact`.
    pub(crate) kind: String,
    /// Fields of which exactly one is set.
    pub(crate) oneof: Option<String>,
}

pub(crate) struct Enum {
    pub(crate) name: String,
    pub(crate) comment: String,
    pub(crate) values: Vec<Value>,
}

pub(crate) struct Value {
    pub(crate) name: String,
    pub(crate) number: i32,
    pub(crate) comment: String,
}

impl Interface {
    pub(crate) fn read() -> Self {
        let files = files();
        let messages: Vec<&DescriptorProto> = files.iter().flat_map(|file| &file.message_type).collect();
        Self {
            files: files.iter().map(|file| read_file(file, &messages)).collect(),
        }
    }

    pub(crate) fn services(&self) -> impl Iterator<Item = &Service> {
        self.files.iter().flat_map(|file| &file.services)
    }

    /// Stem of the file that has a message or enum, by its name without the package.
    pub(crate) fn home(&self, name: &str) -> Option<&str> {
        let has = |file: &&File| {
            file.messages.iter().any(|message| message.name == name) || file.enums.iter().any(|one| one.name == name)
        };
        self.files.iter().find(has).map(|file| file.stem.as_str())
    }

    /// Methods that a reason refuses, with their services.
    pub(crate) fn refused_by<'a>(&'a self, reason: &'a str) -> impl Iterator<Item = (&'a Service, &'a Method)> {
        let methods = self
            .services()
            .flat_map(|service| service.methods.iter().map(move |method| (service, method)));
        methods.filter(move |(_, method)| method.reasons.iter().any(|name| name == reason))
    }
}

/// The name of a reason as it travels.
pub(crate) fn reason_name(reason: ErrorReason) -> String {
    reason.as_str_name().trim_start_matches("ERROR_REASON_").to_owned()
}

fn read_file(file: &prost_types::FileDescriptorProto, all: &[&DescriptorProto]) -> File {
    let comments = Comments::of(file);
    let stem = file
        .name()
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .trim_end_matches(".proto");
    File {
        stem: stem.to_owned(),
        services: (0..file.service.len())
            .map(|at| read_service(file, at, &comments, all))
            .collect(),
        messages: (0..file.message_type.len())
            .map(|at| read_message(&file.message_type[at], at, &comments))
            .collect(),
        enums: (0..file.enum_type.len())
            .map(|at| read_enum(&file.enum_type[at], at, &comments))
            .collect(),
    }
}

fn read_service(
    file: &prost_types::FileDescriptorProto,
    at: usize,
    comments: &Comments,
    all: &[&DescriptorProto],
) -> Service {
    let service = &file.service[at];
    let methods = service.method.iter().enumerate().map(|(place, method)| {
        let level = method
            .options
            .as_ref()
            .map_or(IdempotencyLevel::IdempotencyUnknown, |options| {
                options.idempotency_level()
            });
        Method {
            name: method.name().to_owned(),
            comment: comments.method(at, place).to_owned(),
            request: Type_ {
                name: short(method.input_type()),
                is_stream: method.client_streaming(),
            },
            answer: Type_ {
                name: short(method.output_type()),
                is_stream: method.server_streaming(),
            },
            reasons: comments.reasons(at, place).into_iter().map(str::to_owned).collect(),
            repeats: Repeats::of(level, &short(method.input_type()), all),
        }
    });
    Service {
        name: service.name().to_owned(),
        comment: comments.service(at).to_owned(),
        methods: methods.collect(),
    }
}

fn read_message(message: &DescriptorProto, at: usize, comments: &Comments) -> Message {
    let fields = message.field.iter().enumerate().map(|(place, field)| Field {
        name: field.name().to_owned(),
        number: field.number(),
        comment: comments.field(at, place).to_owned(),
        label: match field.label() {
            Label::Repeated => "repeated ",
            _ if field.proto3_optional() => "optional ",
            _ => "",
        },
        kind: kind(field),
        oneof: field.oneof_index.filter(|_| !field.proto3_optional()).map(|oneof| {
            message.oneof_decl[usize::try_from(oneof).expect("a position")]
                .name()
                .to_owned()
        }),
    });
    Message {
        name: message.name().to_owned(),
        comment: comments.message(at).to_owned(),
        fields: fields.collect(),
    }
}

fn read_enum(one: &prost_types::EnumDescriptorProto, at: usize, comments: &Comments) -> Enum {
    let values = one.value.iter().enumerate().map(|(place, value)| Value {
        name: value.name().to_owned(),
        number: value.number(),
        comment: comments.value(at, place).to_owned(),
    });
    Enum {
        name: one.name().to_owned(),
        comment: comments.enumeration(at).to_owned(),
        values: values.collect(),
    }
}

fn kind(field: &FieldDescriptorProto) -> String {
    match field.r#type() {
        Type::Message | Type::Enum | Type::Group => field.type_name().trim_start_matches('.').to_owned(),
        scalar => format!("{scalar:?}").to_lowercase(),
    }
}

/// A type's name without its package.
pub(crate) fn short(name: &str) -> String {
    name.rsplit('.').next().unwrap_or_default().to_owned()
}
