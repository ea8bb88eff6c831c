//! The main job, step by step, against the server at `ARTIFACTD_ENDPOINT`, with the
//! public data in a folder (`first_steps tests/data`): save a table, save its next
//! version, read both back, delete and restore it; annotate it, find it, read some of its
//! rows over Arrow Flight; save single cells; save a folder, change a file of it, compare;
//! upload a large file.
//! The README's first command runs this.

#![expect(clippy::print_stdout, reason = "it prints what happens")]

use std::path::{Path, PathBuf};

use artifactd_client::{
    AliasIs, Annotations, Client, Error, FolderEdit, ListOptions, MembersOptions, ReadOptions, RestoreOptions,
    SaveOptions, Saved, UploadOptions,
    domain::{Kind, Uid},
    filter,
    messages::{CreateFeatureRequest, CreateLabelRequest, FeatureRole},
};
use futures::TryStreamExt;

/// The key of the table.
const KEY: &str = "penguins.csv";

/// What the last step uploads.
const LARGE_BYTES: u64 = 64 << 20;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let endpoint = std::env::var("ARTIFACTD_ENDPOINT").unwrap_or_else(|_| "http://127.0.0.1:50051".to_owned());
    let client = Client::connect(endpoint).await?;
    let data = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "tests/data".to_owned()));
    a_table(&client, &data.join(KEY)).await?;
    its_record(&client).await?;
    its_rows(&client).await?;
    cells(&client, &data.join("pbmc68k_reduced.h5ad")).await?;
    let folder = std::env::temp_dir().join(format!("artifactd-first-steps-{}", std::process::id()));
    let done = folders_and_uploads(&client, &folder).await;
    remove(&folder)?;
    done
}

/// A file and its versions.
async fn a_table(client: &Client, path: &Path) -> Result<(), Error> {
    let server = client.server_info().await?;
    println!(
        "connected to artifactd {}, storage `{}`",
        server.version, server.default_storage
    );

    let mut options = SaveOptions::key(KEY).with_description("Penguins of three islands");
    options.kind = Some(Kind::Dataset);
    let first = client.save_file(path, options).await?;
    say_saved(&first);
    println!("          sha256 {}", first.artifact.sha256);

    let table = std::fs::read_to_string(path).map_err(|error| failed(path, error))?;
    let complete = without_gaps(&table);
    let second = client.save(complete.clone(), KEY).await?;
    say_saved(&second);
    let again = client.save(complete.clone(), KEY).await?;
    println!("saved it again: {:?}, still {}", again.outcome, again.artifact.uid);

    for version in client.versions(KEY).await? {
        println!(
            "version   {} {} {} bytes, latest: {}",
            version.version, version.uid, version.size_bytes, version.is_latest
        );
    }

    let read = client.read(KEY).await?;
    assert_eq!(read, complete.as_bytes(), "the key gives what was saved last");
    let read = client.read("penguins.csv@@1").await?;
    assert_eq!(read, table.as_bytes(), "the first version is still there");
    println!("read both versions back, every byte checked");

    let options = ReadOptions {
        offset: -47,
        ..ReadOptions::default()
    };
    let tail: Vec<_> = client.open_content(KEY, options).await?.try_collect().await?;
    print!("last line {}", String::from_utf8_lossy(&tail.concat()));

    let trashed = client.delete(first.artifact.stem()).await?;
    println!(
        "deleted   {} versions, the key is free: {}",
        trashed.len(),
        client.get(KEY).await.is_err()
    );
    let restored = client.restore(first.artifact.stem(), RestoreOptions::default()).await?;
    println!(
        "restored  {} versions, latest is {}",
        restored.len(),
        client.get(KEY).await?.version
    );
    Ok(())
}

/// What is said of it, and how it is found.
async fn its_record(client: &Client) -> Result<(), Error> {
    for (name, dtype) in [("animals", "int"), ("studied_by", "str")] {
        let feature = CreateFeatureRequest {
            name: name.to_owned(),
            role: FeatureRole::Feature.into(),
            dtype: dtype.to_owned(),
            ..CreateFeatureRequest::default()
        };
        client.create_feature(feature).await?;
    }
    let label = CreateLabelRequest {
        name: "field study".to_owned(),
        ..CreateLabelRequest::default()
    };
    client.create_label(label).await?;
    let annotations = Annotations::new()
        .feature("animals", 333)
        .feature("studied_by", "Palmer Station")
        .label("field study");
    client.annotate(KEY, annotations).await?;
    let described = client.describe(KEY).await?.annotations.unwrap_or_default();
    let features = described.features.iter().map(|feature| feature.name.as_str());
    let labels = described.labels.iter().filter_map(|label| label.name.as_deref());
    println!(
        "annotated with {}; labelled {}",
        features.collect::<Vec<_>>().join(" and "),
        labels.collect::<Vec<_>>().join(" and ")
    );

    client.set_alias(KEY, "published", AliasIs::Absent).await?;
    let filter = filter::key().starts_with("peng") & filter::size().below(1 << 20);
    let options = ListOptions {
        filter: filter.to_string(),
        ..ListOptions::default()
    };
    let found: Vec<_> = client.list(options).try_collect().await?;
    for artifact in &found {
        println!("found     {} by `{filter}`", artifact.uid);
    }
    let published = client.get("penguins.csv@@published").await?;
    println!("found     {} as penguins.csv@@published", published.uid);
    Ok(())
}

/// Some of its rows and columns, which the server picks.
async fn its_rows(client: &Client) -> Result<(), Error> {
    let table = client.open(KEY).await?;
    let columns: Vec<_> = table
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    println!(
        "opened    {} rows of {}",
        table.n_rows().unwrap_or_default(),
        columns.join(", ")
    );
    let heavy = table.columns(["species", "body_mass_g"]).filter("body_mass_g > 5500");
    let batches = heavy.collect().await?;
    let rows: usize = batches.iter().map(|batch| batch.num_rows()).sum();
    println!("read      {rows} rows of 2 columns with `body_mass_g > 5500` over Arrow Flight");
    Ok(())
}

/// The lines of a table in which nothing is missing.
fn without_gaps(table: &str) -> String {
    let complete = table.lines().filter(|line| !line.split(',').any(|cell| cell == "NA"));
    complete.map(|line| format!("{line}\n")).collect()
}

/// Single cells with their annotation, in one file.
async fn cells(client: &Client, path: &Path) -> Result<(), Error> {
    let saved = client.save_file(path, SaveOptions::key("cells/pbmc68k.h5ad")).await?;
    say_saved(&saved);
    let read = client.read(saved.artifact.uid).await?;
    let same = std::fs::read(path).map_err(|error| failed(path, error))? == read;
    assert!(same, "what came back is what was saved");
    println!("read it back, every byte checked");
    Ok(())
}

fn say_saved(saved: &Saved) {
    let artifact = &saved.artifact;
    println!(
        "saved     {} version {} ({:?}), {} bytes",
        artifact.uid, artifact.version, saved.outcome, artifact.size_bytes
    );
}

async fn folders_and_uploads(client: &Client, folder: &Path) -> Result<(), Error> {
    make_folder(folder)?;
    let saved = client.save_folder(folder, SaveOptions::key("islands")).await?;
    let first = saved.saved.artifact.uid;
    println!(
        "saved     the folder `islands` as {first}, {} bytes travelled",
        saved.sent_bytes
    );
    change(client, first).await?;
    let large = folder.join("large.bin");
    make_large(&large)?;
    let uploaded = client.upload_file_with(&large, SaveOptions::key("large.bin"), UploadOptions::default(), |_| {});
    let uploaded = uploaded.await?.artifact;
    println!(
        "uploaded  {} bytes in parallel parts, sha256 {}",
        uploaded.size_bytes, uploaded.sha256
    );
    Ok(())
}

/// The next version of a folder, of which one file is another.
async fn change(client: &Client, first: Uid) -> Result<(), Error> {
    let edit = FolderEdit::PutBytes {
        path: "biscoe/gentoo.csv".to_owned(),
        content: "body_mass_g\n4500\n5700\n".into(),
    };
    let changed = client.change_folder(first, vec![edit], SaveOptions::default()).await?;
    let second = changed.saved.artifact;
    println!(
        "changed   one file of {}: version {} is {}, {} bytes travelled",
        second.n_objects.unwrap_or_default(),
        second.version,
        second.uid,
        changed.sent_bytes
    );
    let options = MembersOptions {
        glob: Some("biscoe/*".to_owned()),
        ..MembersOptions::default()
    };
    let members: Vec<_> = client.list_members("islands", options).try_collect().await?;
    for member in members {
        println!("listed    {} {} bytes", member.path, member.size_bytes);
    }
    let read = client.read_member("islands", "biscoe/gentoo.csv").await?;
    println!("read      biscoe/gentoo.csv: {} bytes", read.len());
    Ok(())
}

fn make_folder(folder: &Path) -> Result<(), Error> {
    for (path, content) in [
        ("biscoe/adelie.csv", "body_mass_g\n3700\n"),
        ("biscoe/gentoo.csv", "body_mass_g\n4500\n"),
        ("dream/chinstrap.csv", "body_mass_g\n3500\n"),
    ] {
        let path = folder.join(path);
        let made = std::fs::create_dir_all(path.parent().unwrap_or(folder));
        made.and_then(|()| std::fs::write(&path, content))
            .map_err(|error| failed(&path, error))?;
    }
    Ok(())
}

/// A sparse file takes no space here; the server keeps and hashes every byte.
fn make_large(path: &Path) -> Result<(), Error> {
    let made = std::fs::File::create(path).and_then(|file| file.set_len(LARGE_BYTES));
    made.map_err(|error| failed(path, error))
}

fn remove(folder: &Path) -> Result<(), Error> {
    std::fs::remove_dir_all(folder).map_err(|error| failed(folder, error))
}

fn failed(path: &Path, source: std::io::Error) -> Error {
    Error::File {
        path: path.display().to_string(),
        source,
    }
}
