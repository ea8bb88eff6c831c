//! Pages of the reference, one for each file of the protos, and the errors.

use std::collections::BTreeSet;

use artifactd_proto::published::reasons_of_any_call;

use crate::interface::{Enum, Field, File, Interface, Message, Method, Service, Type_, reason_name, short};

const ERRORS: &str = "errors";
const PREFIX: &str = "ERROR_REASON_";

/// Every page by its file name.
pub(crate) fn all(interface: &Interface) -> Vec<(String, String)> {
    let mut pages = vec![("README.md".to_owned(), index(interface))];
    for file in &interface.files {
        let page = match file.stem.as_str() {
            ERRORS => errors(interface, file),
            _ => Page { interface, file }.text(),
        };
        pages.push((format!("{}.md", file.stem), page));
    }
    pages
}

fn index(interface: &Interface) -> String {
    let mut text = String::from(
        "# Reference of the API\n\n\
         Made from the comments in `proto/artifactd/v1` by `.ci/protos write`; change those.\n\n\
         | service | call | what it does | may it be repeated? |\n|---|---|---|---|\n",
    );
    for file in &interface.files {
        for service in &file.services {
            let mut title = format!("[{}]({}.md)", service.name, file.stem);
            for method in &service.methods {
                let (name, anchor) = (&method.name, method.name.to_lowercase());
                let (does, repeats) = (first_sentence(&method.comment), method.repeats.short());
                text += &format!(
                    "| {title} | [{name}]({}.md#{anchor}) | {does} | {repeats} |\n",
                    file.stem
                );
                title.clear();
            }
        }
    }
    text += "\nMessages that several services share: [artifact](artifact.md). \
             Why a call is refused: [errors](errors.md).\n\n\
             A refusal with the code UNAVAILABLE, one with a `google.rpc.RetryInfo`, and a call without any answer can be \
             repeated when the table says so. `client/service_config.json` tells this to gRPC libraries.\n";
    text
}

/// The page of one file.
struct Page<'a> {
    interface: &'a Interface,
    file: &'a File,
}

impl Page<'_> {
    fn text(&self) -> String {
        let mut text = match self.file.services.as_slice() {
            [] => "# Shared messages\n".to_owned(),
            services => services.iter().map(|service| self.service(service)).collect(),
        };
        let shown: BTreeSet<&str> = self.own_messages().map(|message| message.name.as_str()).collect();
        let rest: Vec<&Message> = self
            .file
            .messages
            .iter()
            .filter(|message| !shown.contains(message.name.as_str()))
            .collect();
        let has_more = !rest.is_empty() || !self.file.enums.is_empty();
        if has_more && !self.file.services.is_empty() {
            text += "\n# Messages\n";
        }
        for message in rest {
            text += &format!("\n## {}\n\n{}\n", message.name, message.comment);
            text += &self.fields(message);
        }
        for one in &self.file.enums {
            text += &enumeration(one);
        }
        text
    }

    fn service(&self, service: &Service) -> String {
        let mut text = format!(
            "# {}\n\n`artifactd.v1.{}` in [{file}.proto](../artifactd/v1/{file}.proto).\n\n{}\n",
            service.name,
            service.name,
            service.comment,
            file = self.file.stem,
        );
        for method in &service.methods {
            text += &self.method(method);
        }
        text
    }

    fn method(&self, method: &Method) -> String {
        let mut text = format!(
            "\n## {}\n\n{} → {}\n\n{}\n\n**Repeating.** {}\n\n**Reasons.** {}\n",
            method.name,
            self.travelling(&method.request),
            self.travelling(&method.answer),
            method.comment,
            method.repeats.sentence(),
            reasons(&method.reasons),
        );
        for (title, travels) in [("Request", &method.request), ("Answer", &method.answer)] {
            if let Some(message) = self.own_messages().find(|message| message.name == travels.name) {
                text += &format!("\n### {title}: {}\n\n{}\n", message.name, message.comment);
                text += &self.fields(message);
            }
        }
        text
    }

    /// Messages that one method takes or answers and nothing else has.
    fn own_messages(&self) -> impl Iterator<Item = &Message> {
        let of_methods = |name: &str| {
            let methods = self.interface.services().flat_map(|service| &service.methods);
            methods
                .filter(|method| method.request.name == name || method.answer.name == name)
                .count()
        };
        let is_field = |name: &str| {
            let messages = self.interface.files.iter().flat_map(|file| &file.messages);
            let mut fields = messages.flat_map(|message| &message.fields);
            fields.any(|field| short(&field.kind) == name)
        };
        let messages = self.file.messages.iter();
        messages.filter(move |message| of_methods(&message.name) == 1 && !is_field(&message.name))
    }

    fn travelling(&self, travels: &Type_) -> String {
        let stream = if travels.is_stream { "stream of " } else { "" };
        format!("{stream}{}", self.link(&travels.name))
    }

    /// The name of a type as a link to where it is described.
    fn link(&self, name: &str) -> String {
        let name = short(name);
        let Some(home) = self.interface.home(&name) else {
            return format!("`{name}`");
        };
        // Requests and answers stand under headings that begin otherwise.
        let anchor = match self.heading(&name) {
            Some(title) => format!("{title}-{}", name.to_lowercase()),
            None => name.to_lowercase(),
        };
        let page = if home == self.file.stem {
            String::new()
        } else {
            format!("{home}.md")
        };
        format!("[{name}]({page}#{anchor})")
    }

    fn heading(&self, name: &str) -> Option<&'static str> {
        let own = self.own_messages().any(|message| message.name == name);
        let methods = self.file.services.iter().flat_map(|service| &service.methods);
        let asked = methods.into_iter().any(|method| method.request.name == name);
        own.then_some(if asked { "request" } else { "answer" })
    }

    fn fields(&self, message: &Message) -> String {
        if message.fields.is_empty() {
            return "\nIt has no fields.\n".to_owned();
        }
        let mut text = "\n| field | type | what it is |\n|---|---|---|\n".to_owned();
        for field in &message.fields {
            let (kind, comment) = (self.kind(field), cell(&field.comment));
            text += &format!("| `{}` = {} | {kind} | {comment} |\n", field.name, field.number);
        }
        text
    }

    fn kind(&self, field: &Field) -> String {
        let name = match field.kind.strip_prefix("artifactd.v1.") {
            Some(name) => self.link(name),
            None => format!("`{}`", field.kind),
        };
        match &field.oneof {
            Some(oneof) => format!("{name}, one of `{oneof}`"),
            None => format!("{}{name}", field.label),
        }
    }
}

fn enumeration(one: &Enum) -> String {
    let mut text = format!(
        "\n## {}\n\n{}\n\n| value | what it means |\n|---|---|\n",
        one.name, one.comment
    );
    for value in &one.values {
        text += &format!("| `{}` = {} | {} |\n", value.name, value.number, cell(&value.comment));
    }
    text
}

fn reasons(names: &[String]) -> String {
    if names.is_empty() {
        return "Only [those of any call](errors.md#reasons-of-any-call).".to_owned();
    }
    let links: Vec<String> = names
        .iter()
        .map(|name| format!("[{name}](errors.md#{})", name.to_lowercase()))
        .collect();
    format!(
        "{}; and [those of any call](errors.md#reasons-of-any-call).",
        links.join(", ")
    )
}

fn errors(interface: &Interface, file: &File) -> String {
    let mut text = String::from("# Errors\n");
    let any: BTreeSet<String> = reasons_of_any_call().into_iter().map(reason_name).collect();
    for one in &file.enums {
        text += &format!("\n{}\n", one.comment);
        let published = one.values.iter().filter(|value| value.number != 0);
        let reasons = published.map(|value| {
            let name = value.name.trim_start_matches(PREFIX);
            let (code, meaning) = value.comment.split_once(": ").unwrap_or(("", &value.comment));
            (name, value.number, code, cell(meaning))
        });
        let (of_any, of_some): (Vec<_>, Vec<_>) = reasons.partition(|(name, ..)| any.contains(*name));
        text += "\n# Reasons of any call\n\n| reason | code | why |\n|---|---|---|\n";
        for (name, number, code, meaning) in of_any {
            text += &format!("| `{name}` = {number} | {code} | {meaning} |\n");
        }
        text += "\n# Reasons of some calls\n";
        for (name, number, code, meaning) in of_some {
            let calls: Vec<String> = interface
                .refused_by(name)
                .map(|(service, method)| call(interface, service, method))
                .collect();
            let calls = if calls.is_empty() {
                "no call of this version".to_owned()
            } else {
                calls.join(", ")
            };
            text += &format!("\n## {name}\n\n{code} (= {number}): {meaning}\n\nFrom {calls}.\n");
        }
    }
    text
}

fn call(interface: &Interface, service: &Service, method: &Method) -> String {
    let mut files = interface.files.iter();
    let home = files.find(|file| file.services.iter().any(|one| one.name == service.name));
    let home = home.map_or("", |file| file.stem.as_str());
    format!("[{}]({home}.md#{})", method.name, method.name.to_lowercase())
}

/// A comment as one cell of a table.
fn cell(comment: &str) -> String {
    comment.replace('\n', " ").replace('|', "\\|")
}

fn first_sentence(comment: &str) -> String {
    let paragraph = cell(comment.split("\n\n").next().unwrap_or_default());
    match paragraph.split_once(". ") {
        Some((first, _)) => format!("{first}."),
        None => paragraph,
    }
}
