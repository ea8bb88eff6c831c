//! Whether a message of the content can go out as it is.
//!
//! It can when its columns are of plain types, none of them packed, and what its header
//! says of them holds: whoever gets it believes that header. Values of one size are what they
//! are and not looked at, so that most bytes go from the store to the wire untouched;
//! texts are read and checked as if they were unpacked.

use std::{ops::Range, sync::Arc};

use arrow_array::Array;
use arrow_buffer::BooleanBuffer;
use arrow_ipc::MetadataVersion;
use arrow_schema::{DataType, Field};
use bytes::Bytes;

use super::{body::BodyReader, decode::Dictionaries, plan::BatchPlan};
use crate::arrays::error::{ArrayError, Result};

/// Buffers of a message begin at multiples of it, or readers cannot use them as they lie.
const ALIGNMENT: u64 = 8;

/// Columns that hold all that they are: they neither refer to a dictionary nor have others
/// in them.
enum Plain {
    /// Values of as many bits.
    Values(u64),
    Texts,
}

fn plain(data_type: &DataType) -> Option<Plain> {
    use DataType as D;
    match data_type {
        D::Boolean => Some(Plain::Values(1)),
        D::FixedSizeBinary(size) => u64::try_from(*size).ok().map(|size| Plain::Values(8 * size)),
        D::Utf8 | D::LargeUtf8 | D::Binary | D::LargeBinary => Some(Plain::Texts),
        other => other.primitive_width().map(|width| Plain::Values(8 * width as u64)),
    }
}

/// Whether all columns are of types of which a message can go out as it is.
pub(super) fn are_plain(fields: &[Arc<Field>]) -> bool {
    !fields.is_empty() && fields.iter().all(|field| plain(field.data_type()).is_some())
}

/// Whether all columns are of values of one size.
pub(super) fn are_values(fields: &[Arc<Field>]) -> bool {
    let is_of_values = |field: &Arc<Field>| matches!(plain(field.data_type()), Some(Plain::Values(_)));
    !fields.is_empty() && fields.iter().all(is_of_values)
}

/// What is never asked for.
struct Unread;

impl BodyReader for Unread {
    fn read(&self, _: Range<u64>) -> Result<Bytes> {
        Err(ArrayError::Internal("values of one size were looked at".to_owned()))
    }
}

impl BatchPlan {
    /// Whether what the header says is true whatever the body is: of values of one size, none
    /// of them null.
    pub(super) fn holds_of_any_body(&self, fields: &[Arc<Field>]) -> Result<bool> {
        let is_whole = are_values(fields) && self.nodes.iter().all(|node| node.nulls == 0);
        Ok(is_whole && self.holds(fields, &Unread)?)
    }

    /// Whether all that the header says of plain columns is true of the body. What no
    /// reader could read is an error.
    pub(super) fn holds(&self, fields: &[Arc<Field>], body: &dyn BodyReader) -> Result<bool> {
        let is_usual = self.version == MetadataVersion::V5 && !self.is_compressed() && self.variadic.is_empty();
        if !is_usual || self.rows == 0 || self.nodes.len() != fields.len() {
            return Ok(false);
        }
        if self
            .buffers
            .iter()
            .any(|buffer| !buffer.start.is_multiple_of(ALIGNMENT))
        {
            return Ok(false);
        }
        let rows = self.rows as u64;
        let (mut buffers, mut texts) = (self.buffers.iter(), Vec::new());
        for (place, (field, node)) in fields.iter().zip(&self.nodes).enumerate() {
            let (Some(nulls), Some(first)) = (buffers.next(), buffers.next()) else {
                return Ok(false);
            };
            if node.rows != self.rows || (node.nulls > 0 && !field.is_nullable()) {
                return Ok(false);
            }
            match plain(field.data_type()) {
                Some(Plain::Values(bits)) => {
                    let bytes = rows.checked_mul(bits).map(|bits| bits.div_ceil(8));
                    if bytes.is_none_or(|bytes| first.end - first.start < bytes) {
                        return Ok(false);
                    }
                    let nulls_bytes = rows.div_ceil(8);
                    if node.nulls > 0 {
                        if nulls.end - nulls.start < nulls_bytes {
                            return Ok(false);
                        }
                        let bits = body.read(nulls.start..nulls.start + nulls_bytes)?;
                        let set = BooleanBuffer::new(bits.into(), 0, self.rows).count_set_bits();
                        if self.rows - set != node.nulls {
                            return Ok(false);
                        }
                    }
                }
                Some(Plain::Texts) => {
                    buffers.next();
                    texts.push(place);
                }
                None => return Ok(false),
            }
        }
        if buffers.next().is_some() {
            return Ok(false);
        }
        let mut is_text = vec![false; fields.len()];
        texts.iter().for_each(|place| is_text[*place] = true);
        let columns = self.decode(fields, |place| is_text[place], 0..self.rows, body, &Dictionaries::new())?;
        let columns = columns.iter().zip(&self.nodes);
        Ok(columns
            .filter_map(|(column, node)| column.as_ref().map(|column| (column, node)))
            .all(|(column, node)| column.null_count() == node.nulls))
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{
        ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int64Array, RecordBatch, StringArray, types::Int8Type,
    };
    use arrow_ipc::{
        CompressionType,
        writer::{FileWriter, IpcWriteOptions},
    };
    use object_store::{ObjectStoreExt, memory::InMemory, path::Path};
    use tokio::task::spawn_blocking;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::arrays::{
        Rows, filter,
        ipc::{Encoder, IpcTable, MessageReader},
        source::Place,
        table::{Portion, Scan, Table},
    };

    /// A batch of 1,000 rows, some of them null.
    fn batch(first: i64) -> RecordBatch {
        let numbers = first..first + 1000;
        let columns: [(&str, ArrayRef); 4] = [
            ("id", Arc::new(Int64Array::from_iter_values(numbers.clone()))),
            (
                "value",
                Arc::new(Float64Array::from_iter(
                    numbers.clone().map(|row| (row % 3 != 0).then_some(row as f64)),
                )),
            ),
            (
                "word",
                Arc::new(StringArray::from_iter(
                    numbers.clone().map(|row| (row % 5 != 0).then(|| format!("word {row}"))),
                )),
            ),
            (
                "even",
                Arc::new(BooleanArray::from_iter(numbers.map(|row| Some(row % 2 == 0)))),
            ),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
    }

    fn file_of(batches: &[RecordBatch], options: IpcWriteOptions) -> Vec<u8> {
        let mut file = Vec::new();
        let mut writer = FileWriter::try_new_with_options(&mut file, &batches[0].schema(), options).unwrap();
        batches.iter().for_each(|batch| writer.write(batch).unwrap());
        writer.finish().unwrap();
        drop(writer);
        file
    }

    type Change = Box<dyn Fn(&mut Scan)>;

    /// What goes out of a file.
    fn sent(file: Vec<u8>, change: impl FnOnce(&mut Scan)) -> Result<Vec<Portion>> {
        sent_from(Place::here(file.into()), change)
    }

    fn sent_from(place: Place, change: impl FnOnce(&mut Scan)) -> Result<Vec<Portion>> {
        let table = IpcTable::open(place, None)?;
        let mut scan = Scan {
            columns: (0..table.schema().fields().len()).collect(),
            rows: None,
            filter: None,
            limit: None,
            batch_bytes: 1 << 20,
            cancel: CancellationToken::new(),
        };
        change(&mut scan);
        Arc::new(table).scan_to_send(scan)?.collect()
    }

    fn are_stored(portions: &[Portion]) -> Vec<bool> {
        let is_stored = |portion: &Portion| matches!(portion, Portion::Stored(_));
        portions.iter().map(is_stored).collect()
    }

    #[test]
    fn a_whole_batch_goes_out_as_the_message_that_it_is_stored_as() {
        let batches = [batch(0), batch(1000)];
        let file = file_of(&batches, IpcWriteOptions::default());
        let schema = Encoder::new(&batches[0].schema()).schema();
        let portions = sent(file.clone(), |_| {}).unwrap();
        assert_eq!(portions.len(), 2);
        for ((portion, batch), first_row) in portions.into_iter().zip(batches).zip([0, 1000]) {
            let Portion::Stored(stored) = portion else {
                panic!("{portion:?}");
            };
            assert_eq!((stored.first_row, stored.rows), (first_row, 1000));
            let body = stored.message.body.concat();
            assert_eq!(body.len(), stored.message.body_bytes);
            assert!(file.windows(body.len()).any(|window| window == body));
            let mut reader = MessageReader::new(&schema.header).unwrap();
            let read = reader.message(&stored.message.header, body.into()).unwrap();
            assert_eq!(read, Some(batch));
        }
    }

    #[test]
    fn what_is_not_all_of_a_batch_is_made_anew() {
        let batches = [batch(0), batch(1000)];
        let is_even = "even = true".parse().unwrap();
        let is_even = Arc::new(filter::check(&is_even, &batches[0].schema()).unwrap());
        let rows = |range| Some(Rows::of_ranges(std::iter::once(range)));
        let changes: [(Change, &[bool]); 7] = [
            (Box::new(|scan| scan.columns = Arc::new([0, 1])), &[false; 2]),
            (Box::new(|scan| scan.columns = Arc::new([1, 0, 2, 3])), &[false; 2]),
            (Box::new(move |scan| scan.rows = rows(500..2000)), &[false, true]),
            (Box::new(|scan| scan.limit = Some(1999)), &[true, false]),
            (
                Box::new(move |scan| scan.filter = Some(Arc::clone(&is_even))),
                &[false; 2],
            ),
            (Box::new(|scan| scan.batch_bytes = 20_000), &[false; 4]),
            (Box::new(|scan| scan.limit = Some(2000)), &[true; 2]),
        ];
        for (number, (change, expected)) in changes.into_iter().enumerate() {
            let portions = sent(file_of(&batches, IpcWriteOptions::default()), change).unwrap();
            assert_eq!(are_stored(&portions), expected, "change {number}");
        }
    }

    #[test]
    fn what_others_could_not_read_alone_is_made_anew() {
        // A dictionary may have gone out before in another form.
        let words: DictionaryArray<Int8Type> = ["a", "b", "a"].into_iter().collect();
        let words = RecordBatch::try_from_iter([("word", Arc::new(words) as ArrayRef)]).unwrap();
        let nested = arrow_array::StructArray::from(batch(0));
        let nested = RecordBatch::try_from_iter([("all", Arc::new(nested) as ArrayRef)]).unwrap();
        let usual = IpcWriteOptions::default;
        let packed = usual().try_with_compression(Some(CompressionType::ZSTD)).unwrap();
        let old = IpcWriteOptions::try_new(8, false, MetadataVersion::V4).unwrap();
        for (what, file) in [
            ("a dictionary", file_of(&[words], usual())),
            ("a struct", file_of(&[nested], usual())),
            ("packed", file_of(&[batch(0)], packed)),
            ("an old version", file_of(&[batch(0)], old)),
        ] {
            assert_eq!(are_stored(&sent(file, |_| {}).unwrap()), [false], "{what}");
        }
    }

    /// A batch of 2.4 MB, in one row of which a value is null, or in none.
    fn large(first: i64, null: Option<i64>) -> RecordBatch {
        let numbers = first..first + 150_000;
        let value = |row: i64| (Some(row) != null).then_some(row as f64);
        let columns: [(&str, ArrayRef); 2] = [
            ("id", Arc::new(Int64Array::from_iter_values(numbers.clone()))),
            ("value", Arc::new(Float64Array::from_iter(numbers.map(value)))),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
    }

    /// What goes out of a file in a store.
    async fn sent_from_store(file: &[u8], change: impl FnOnce(&mut Scan) + Send + 'static) -> Vec<Portion> {
        let (store, path) = (Arc::new(InMemory::new()), Path::from("content"));
        store.put(&path, file.to_vec().into()).await.unwrap();
        let place = Place::stored(store, path, file.len() as u64, CancellationToken::new());
        let sent = spawn_blocking(move || sent_from(place, change).unwrap());
        sent.await.unwrap()
    }

    #[tokio::test]
    async fn large_bodies_of_values_are_left_to_who_sends_them() {
        let batches = [large(0, None), large(150_000, None)];
        let file = file_of(&batches, IpcWriteOptions::default());
        let schema = Encoder::new(&batches[0].schema()).schema();
        let portions = sent_from_store(&file, |scan| scan.batch_bytes = 3 << 20).await;
        assert_eq!(portions.len(), 2);
        for ((portion, batch), first_row) in portions.into_iter().zip(&batches).zip([0, 150_000]) {
            let Portion::Lying(lying) = portion else {
                panic!("{portion:?}");
            };
            assert_eq!((lying.rows, lying.first_row), (150_000, first_row));
            let body = bytes::Bytes::copy_from_slice(&file[lying.body.start as usize..lying.body.end as usize]);
            let mut reader = MessageReader::new(&schema.header).unwrap();
            assert_eq!(reader.message(&lying.header, body).unwrap().unwrap(), *batch);
        }
        let left = async |batch_bytes: usize, limit, file: &[u8]| {
            let portions = sent_from_store(file, move |scan| {
                (scan.batch_bytes, scan.limit) = (batch_bytes, limit);
            });
            let kind = |portion: &Portion| match portion {
                Portion::Lying(_) => 'l',
                Portion::Stored(_) => 's',
                Portion::Unpacked(_) => 'u',
            };
            portions.await.iter().map(kind).collect::<String>()
        };
        // Too large for a message.
        assert!(!left(1 << 20, None, &file).await.contains('l'));
        assert_eq!(left(3 << 20, Some(150_000), &file).await, "l");
        assert_eq!(left(3 << 20, Some(150_001), &file).await, "lu");
        // Nulls are counted, and then no body is left any more.
        let batches = [large(0, None), large(150_000, Some(150_007)), large(300_000, None)];
        let file = file_of(&batches, IpcWriteOptions::default());
        assert_eq!(left(3 << 20, None, &file).await, "lss");
    }

    /// The plan and the body of a message of a batch.
    fn planned(batch: &RecordBatch) -> (BatchPlan, bytes::Bytes) {
        let message = Encoder::new(&batch.schema()).encode(batch).unwrap().remove(0);
        let plan = BatchPlan::of_message(&message.header, message.body_bytes as u64).unwrap();
        (plan, message.body.concat().into())
    }

    #[test]
    fn a_header_that_lies_does_not_go_out() {
        let batch = batch(0);
        let (plan, body) = planned(&batch);
        let holds = |change: &dyn Fn(&mut BatchPlan)| {
            let mut plan = plan.clone();
            change(&mut plan);
            plan.holds(batch.schema_ref().fields(), &body)
        };
        assert!(holds(&|_| {}).unwrap());
        let lies: [&dyn Fn(&mut BatchPlan); 11] = [
            &|plan| plan.nodes[1].nulls -= 1,
            &|plan| plan.nodes[1].nulls = 0,
            &|plan| plan.nodes[2].nulls += 1,
            &|plan| plan.nodes[0].rows -= 1,
            &|plan| plan.rows += 1,
            &|plan| plan.nodes.truncate(3),
            &|plan| plan.buffers.push(0..0),
            &|plan| plan.buffers[1].end -= 1,
            &|plan| plan.buffers[2].end -= 1,
            &|plan| plan.buffers[1] = plan.buffers[1].start + 4..plan.buffers[1].end + 4,
            &|plan| plan.variadic.push(0),
        ];
        for (number, lie) in lies.into_iter().enumerate() {
            let holds = holds(lie);
            // Nulls of values that are said to be none are left out by all that read them.
            let is_harmless = number == 1;
            assert_eq!(holds.unwrap(), is_harmless, "lie {number}");
        }
        // Nulls where there may be none.
        let mut fields: Vec<_> = batch.schema().fields().iter().cloned().collect();
        fields[1] = Arc::new(Field::clone(&fields[1]).with_nullable(false));
        assert!(!plan.holds(&fields, &body).unwrap());
    }

    #[test]
    fn texts_that_are_none_do_not_go_out() {
        let (plan, body) = planned(&batch(0));
        let fields = batch(0).schema().fields().clone();
        // The texts are the third column, and behind its nulls and offsets.
        let (offsets, texts) = (&plan.buffers[5], &plan.buffers[6]);
        let mut broken = body.to_vec();
        broken[texts.start as usize] = 0xff;
        assert!(plan.holds(&fields, &bytes::Bytes::from(broken)).is_err());
        let mut broken = body.to_vec();
        broken[offsets.start as usize + 4..][..4].copy_from_slice(&(-1_i32).to_le_bytes());
        assert!(plan.holds(&fields, &bytes::Bytes::from(broken)).is_err());
    }
}
