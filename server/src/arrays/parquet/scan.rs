//! A scan of a parquet file, row group by row group.

use std::{ops::Range, sync::Arc};

use arrow_array::{RecordBatch, RecordBatchOptions};
use artifactd_domain::filter::Predicate;
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder, RowSelection},
    },
    file::metadata::ParquetMetaData,
};

use super::{
    FORMAT, ParquetTable,
    columns::{Reader, Unpacked, Zipped},
    footer::chunk_range,
    guarded,
    pages::PageFile,
    prune,
};
use crate::arrays::{
    Rows,
    error::{ArrayError, Result},
    filter::{Column, columns_of, mask},
    in_parts::{InParts, one_by_one},
    source::Source,
    table::{Batch, Batches, Numbering, ReadOn, Scan, ended_by_errors},
    threads::threads_max,
};

/// Rows of a batch, at least and at most; a multiple of 64, so that bits of batches stand alone.
const BATCH_ROWS_MIN: u64 = 64;
const BATCH_ROWS_MAX: u64 = 64 * 1024;

/// Rows of a batch of which only a filter is asked.
const FILTER_BATCH_ROWS: usize = 32 * 1024;

/// Below this size a thread costs more than it saves.
const BYTES_PER_THREAD_MIN: u64 = 4 * 1024 * 1024;

/// Reads a selection of a table.
pub(super) fn scan(table: Arc<ParquetTable>, scan: Scan) -> Result<Batches> {
    let selected = match &scan.rows {
        Some(rows) => rows.clone(),
        None => Rows::all(table.footer.n_rows()),
    };
    let leaves_rows_out = scan.filter.is_some() || selected != Rows::all(table.footer.n_rows());
    let metadata = match leaves_rows_out {
        true => table.indexed(&scan)?,
        false => Arc::clone(&table.footer.metadata),
    };
    let reader_metadata = guarded(|| table.reader_metadata(Arc::clone(&metadata)))?;
    let row_groups = 0..metadata.num_row_groups();
    let groups = RowGroups {
        table,
        metadata,
        reader_metadata,
        selected,
        scan,
    };
    Ok(one_by_one(Arc::new(groups), row_groups))
}

/// What a scan reads of each row group.
struct RowGroups {
    table: Arc<ParquetTable>,
    metadata: Arc<ParquetMetaData>,
    reader_metadata: ArrowReaderMetadata,
    scan: Scan,
    /// Rows that were asked for by number.
    selected: Rows,
}

/// What rows are held against once they are read, and the places of the columns that were.
type LateFilter = (Arc<Predicate<Column>>, Arc<[usize]>);

/// A row group on its way.
struct RowGroup {
    batches: Box<dyn Iterator<Item = Result<RecordBatch>> + Send>,
    numbering: Numbering,
    /// What its rows have to be held against still.
    filter: Option<LateFilter>,
}

/// A row group, and what is read of all of them.
struct InGroups {
    opened: RowGroup,
    groups: Arc<RowGroups>,
}

impl ReadOn for InGroups {
    fn next_batch(&mut self) -> Result<Option<Batch>> {
        self.opened.next_batch(&self.groups.scan)
    }
}

impl InParts for RowGroups {
    fn scan(&self) -> &Scan {
        &self.scan
    }

    fn begin(self: Arc<Self>, row_group: usize, left: u64) -> Result<Batches> {
        let opened = self.open(row_group, left)?;
        let groups = self;
        Ok(match opened {
            Some(opened) => ended_by_errors(InGroups { opened, groups }),
            None => Box::new(std::iter::empty()),
        })
    }

    /// Where so little of a row group is wanted that one thread unpacks it.
    fn small_bytes(&self, row_group: usize) -> Option<u64> {
        let asked = self.scan.filter.iter().flat_map(|filter| columns_of(filter));
        let columns: Vec<usize> = asked.chain(self.scan.columns.iter().copied()).collect();
        let wanted = self.selected.within(&self.table.footer.rows_of(row_group));
        let is_small = self.sets(row_group, &wanted, &columns).len() < 2;
        is_small.then(|| self.read_bytes(row_group, &wanted, &columns))
    }
}

impl RowGroups {
    /// Begins to read a row group; `None` when nothing of it is wanted.
    fn open(&self, row_group: usize, left: u64) -> Result<Option<RowGroup>> {
        let footer = &self.table.footer;
        let rows = footer.rows_of(row_group);
        let mut wanted = self.selected.within(&rows).counted_from(rows.start);
        let columns = &self.scan.columns;
        let Some(predicate) = &self.scan.filter else {
            return match wanted.is_empty() {
                true => Ok(None),
                false => self.row_group(row_group, &wanted.first(left), columns, None).map(Some),
            };
        };
        if wanted.is_empty() || !guarded(|| Ok(prune::row_group_can_match(predicate, footer, row_group)))? {
            return Ok(None);
        }
        wanted = guarded(|| {
            Ok(wanted.and(&prune::rows_that_can_match(
                predicate,
                footer,
                &self.metadata,
                row_group,
            )))
        })?;
        if wanted.is_empty() {
            return Ok(None);
        }
        let asked: Arc<[usize]> = columns_of(predicate).into();
        let bytes = |columns: &[usize]| -> u64 {
            let bytes = columns
                .iter()
                .map(|column| self.table.unpacked_bytes(row_group, *column));
            bytes.sum()
        };
        let others: Vec<usize> = columns
            .iter()
            .filter(|column| !asked.contains(column))
            .copied()
            .collect();
        // What a filter asks for is unpacked twice when matching rows are looked for first.
        if bytes(&others) <= bytes(&asked) {
            let all: Arc<[usize]> = [&asked[..], &others].concat().into();
            let filter = Some((Arc::clone(predicate), Arc::clone(&all)));
            return self.row_group(row_group, &wanted, &all, filter).map(Some);
        }
        let matching = self.matching(row_group, &wanted, predicate, &asked, left)?.first(left);
        match matching.is_empty() {
            true => Ok(None),
            false => self.row_group(row_group, &matching, columns, None).map(Some),
        }
    }

    /// Which of some rows match, by the columns alone that are asked for that.
    fn matching(
        &self,
        row_group: usize,
        wanted: &Rows,
        predicate: &Predicate<Column>,
        asked: &[usize],
        left: u64,
    ) -> Result<Rows> {
        let batches = self.batches(row_group, wanted, asked, FILTER_BATCH_ROWS)?;
        let (mut numbering, mut found, mut ranges) = (Numbering::new(wanted), 0, Vec::new());
        for batch in batches {
            let batch = number(&mut numbering, batch?)?;
            let mask = mask(predicate, &batch.batch, asked)?;
            found += mask.count_set_bits() as u64;
            for (start, end) in mask.set_slices() {
                let (first, last) = (batch.number(start), batch.number(end - 1));
                match last - first == (end - 1 - start) as u64 {
                    true => ranges.push(first..last + 1),
                    false => ranges.extend((start..end).map(|row| batch.number(row)..batch.number(row) + 1)),
                }
            }
            if found >= left {
                break;
            }
        }
        Ok(Rows::of_ranges(ranges))
    }

    fn row_group(
        &self,
        row_group: usize,
        wanted: &Rows,
        columns: &[usize],
        filter: Option<LateFilter>,
    ) -> Result<RowGroup> {
        let rows = self.metadata.row_group(row_group).num_rows().unsigned_abs().max(1);
        let bytes: u64 = columns
            .iter()
            .map(|column| self.table.unpacked_bytes(row_group, *column))
            .sum();
        let fitting = self.scan.batch_bytes as u64 / (bytes / rows).max(1);
        let batch_rows = (fitting / 64 * 64).clamp(BATCH_ROWS_MIN, BATCH_ROWS_MAX);
        let start = self.table.footer.rows_of(row_group).start;
        let numbers = Rows::of_ranges(wanted.ranges().iter().map(|rows| rows.start + start..rows.end + start));
        Ok(RowGroup {
            batches: self.batches(row_group, wanted, columns, batch_rows as usize)?,
            numbering: Numbering::new(&numbers),
            filter,
        })
    }

    /// Columns of some rows of a row group, in that order.
    fn batches(
        &self,
        row_group: usize,
        wanted: &Rows,
        columns: &[usize],
        batch_rows: usize,
    ) -> Result<Box<dyn Iterator<Item = Result<RecordBatch>> + Send>> {
        let sets = self.sets(row_group, wanted, columns);
        let mut readers = Vec::with_capacity(sets.len());
        for set in &sets {
            readers.push(self.reader(row_group, wanted, set, batch_rows)?);
        }
        let Some(last) = readers.pop() else {
            return Ok(Box::new(empty_batches(wanted.count(), batch_rows)));
        };
        let others = readers
            .into_iter()
            .map(|reader| Unpacked::Elsewhere(reader.on_a_thread()));
        let sets_in_one_row: Vec<usize> = sets.concat();
        let places = columns.iter().map(|column| {
            let place = sets_in_one_row.iter().position(|place| place == column);
            place.expect("each column is in a set")
        });
        let zipped = Zipped {
            readers: others.chain([Unpacked::Here(last)]).collect(),
            places: places.collect(),
        };
        Ok(Box::new(zipped))
    }

    /// About how many bytes are unpacked of some rows.
    fn read_bytes(&self, row_group: usize, wanted: &Rows, columns: &[usize]) -> u64 {
        let rows = self.metadata.row_group(row_group).num_rows().unsigned_abs().max(1);
        let bytes = |column: &usize| self.table.unpacked_bytes(row_group, *column).saturating_add(1);
        let all: u64 = columns.iter().map(bytes).sum();
        (u128::from(all) * u128::from(wanted.count()) / u128::from(rows)) as u64
    }

    /// Columns that are unpacked by one thread each, of about the same size.
    fn sets(&self, row_group: usize, wanted: &Rows, columns: &[usize]) -> Vec<Vec<usize>> {
        let bytes = |column: &usize| self.table.unpacked_bytes(row_group, *column).saturating_add(1);
        let mut sized: Vec<(u64, usize)> = columns.iter().map(|column| (bytes(column), *column)).collect();
        sized.sort_unstable_by(|one, other| other.cmp(one));
        let read = self.read_bytes(row_group, wanted, columns);
        let worth = usize::try_from(read / BYTES_PER_THREAD_MIN).unwrap_or(usize::MAX);
        let threads = threads_max().min(worth.max(1)).min(columns.len());
        let mut sets: Vec<(u64, Vec<usize>)> = vec![(0, Vec::new()); threads];
        for (bytes, column) in sized {
            let smallest = sets.iter_mut().min_by_key(|(bytes, _)| *bytes).expect("there is one");
            smallest.0 += bytes;
            smallest.1.push(column);
        }
        let sorted = sets.into_iter().map(|(_, mut set)| {
            set.sort_unstable();
            set
        });
        sorted.collect()
    }

    fn reader(&self, row_group: usize, wanted: &Rows, columns: &[usize], batch_rows: usize) -> Result<Reader> {
        let footer = &self.table.footer;
        let leaves: Vec<usize> = columns.iter().flat_map(|column| footer.leaves_of(*column)).collect();
        let metadata = self.metadata.row_group(row_group);
        let ranges = leaves
            .iter()
            .flat_map(|leaf| self.ranges(row_group, wanted, *leaf))
            .collect();
        let has_lists = leaves
            .iter()
            .any(|leaf| metadata.column(*leaf).column_descr().max_rep_level() > 0);
        let place = self.table.place.until(&self.scan.cancel);
        let source = Source::of_parts(place, ranges, leaves.len());
        let file = PageFile::new(source, self.page_starts(row_group, &leaves), has_lists);
        let descriptor = self.metadata.file_metadata().schema_descr();
        let mask = ProjectionMask::leaves(descriptor, leaves);
        let all = wanted.count() == metadata.num_rows().unsigned_abs();
        let reader = guarded(|| {
            let builder =
                ParquetRecordBatchReaderBuilder::new_with_metadata(file.clone(), self.reader_metadata.clone())
                    .with_row_groups(vec![row_group])
                    .with_projection(mask)
                    .with_batch_size(batch_rows);
            let builder = match all {
                true => builder,
                false => builder.with_row_selection(selection(wanted, metadata.num_rows())),
            };
            let built = builder.build();
            built.map_err(|error| file.failure(ArrayError::from_parquet(error)))
        })?;
        Ok(Reader { file, reader })
    }

    /// Where some rows of a column lie: its dictionary, and the pages that have any of them.
    fn ranges(&self, row_group: usize, wanted: &Rows, leaf: usize) -> Vec<Range<u64>> {
        let metadata = self.metadata.row_group(row_group);
        let chunk = chunk_range(metadata.column(leaf));
        let rows = metadata.num_rows().unsigned_abs();
        let pages = match self.metadata.offset_index() {
            Some(index) if wanted.count() < rows => index[row_group][leaf].page_locations(),
            _ => return vec![chunk],
        };
        let Some(first) = pages.first() else {
            return vec![chunk];
        };
        // What an index says is not to be believed beyond the chunk.
        let inside = |at: u64| at.clamp(chunk.start, chunk.end);
        let ends = pages[1..].iter().map(|page| page.first_row_index.unsigned_abs());
        let wanted = pages.iter().zip(ends.chain([rows])).filter(|(page, end)| {
            let start = page.first_row_index.unsigned_abs();
            start < *end && !wanted.within(&(start..*end)).is_empty()
        });
        let wanted = wanted.map(|(page, _)| {
            let (start, bytes) = (page.offset.unsigned_abs(), page.compressed_page_size.unsigned_abs());
            inside(start)..inside(start.saturating_add(u64::from(bytes)))
        });
        let dictionary = chunk.start..inside(first.offset.unsigned_abs());
        let ranges = [dictionary].into_iter().chain(wanted);
        ranges.filter(|range| !range.is_empty()).collect()
    }

    /// Where pages begin that the decoder finds by the index.
    fn page_starts(&self, row_group: usize, leaves: &[usize]) -> Vec<u64> {
        let Some(index) = self.metadata.offset_index() else {
            return Vec::new();
        };
        let of_leaf = |leaf: &usize| {
            let chunk = chunk_range(self.metadata.row_group(row_group).column(*leaf));
            let pages = index[row_group][*leaf].page_locations();
            let pages = pages.iter().map(|page| page.offset.unsigned_abs());
            pages.chain([chunk.start]).collect::<Vec<_>>()
        };
        leaves.iter().flat_map(of_leaf).collect()
    }
}

impl RowGroup {
    /// The next batch, without the rows that do not match; `None` at the end.
    fn next_batch(&mut self, scan: &Scan) -> Result<Option<Batch>> {
        let Some(batch) = self.batches.next() else {
            return Ok(None);
        };
        let mut batch = self.number(batch?)?;
        if let Some((predicate, places)) = &self.filter {
            let mask = mask(predicate, &batch.batch, places)?;
            batch = batch
                .filter(&mask)
                .map_err(|error| ArrayError::from_arrow(FORMAT, error))?;
            batch.batch = project(&batch.batch, places, &scan.columns)?;
        }
        Ok(Some(batch))
    }

    fn number(&mut self, batch: RecordBatch) -> Result<Batch> {
        number(&mut self.numbering, batch)
    }
}

fn number(numbering: &mut Numbering, batch: RecordBatch) -> Result<Batch> {
    let numbers = numbering.next(batch.num_rows());
    let numbers = numbers.ok_or_else(|| ArrayError::malformed(FORMAT, "a row group holds more rows than it says"))?;
    Ok(Batch { batch, numbers })
}

fn selection(wanted: &Rows, rows: i64) -> RowSelection {
    let ranges = wanted
        .ranges()
        .iter()
        .map(|rows| rows.start as usize..rows.end as usize);
    RowSelection::from_consecutive_ranges(ranges, rows.unsigned_abs() as usize)
}

/// Columns of a batch that has those at `places`, by their own places and in their order.
fn project(batch: &RecordBatch, places: &[usize], columns: &[usize]) -> Result<RecordBatch> {
    let place = |column: &usize| places.iter().position(|place| place == column).expect("it was read");
    let columns: Vec<usize> = columns.iter().map(place).collect();
    batch
        .project(&columns)
        .map_err(|error| ArrayError::from_arrow(FORMAT, error))
}

/// Batches without columns.
fn empty_batches(mut rows: u64, batch_rows: usize) -> impl Iterator<Item = Result<RecordBatch>> {
    std::iter::from_fn(move || {
        let next = rows.min(batch_rows as u64);
        rows -= next;
        let options = RecordBatchOptions::new().with_row_count(Some(next as usize));
        let schema = Arc::new(arrow_schema::Schema::empty());
        let batch = RecordBatch::try_new_with_options(schema, Vec::new(), &options);
        (next > 0).then(|| batch.map_err(|error| ArrayError::from_arrow(FORMAT, error)))
    })
}
