//! Columns of texts and bytes.

use std::ops::Range;

use arrow_buffer::{ArrowNativeType, BooleanBuffer, Buffer};
use arrow_data::{ArrayData, ByteView};
use arrow_schema::DataType;

use super::{
    super::{lie, plan::Node},
    Decoding,
    buffers::aligned,
    built,
};
use crate::arrays::error::Result;

impl Decoding<'_> {
    /// Texts one after the other, found by their offsets.
    pub(super) fn texts<O: ArrowNativeType>(
        &mut self,
        data_type: &DataType,
        node: Node,
        rows: &Range<usize>,
    ) -> Result<ArrayData> {
        let (nulls, offsets, values) = (self.next_buffer()?, self.next_buffer()?, self.next_buffer()?);
        let nulls = self.nulls(&nulls, node, rows)?;
        let (offsets, span) = self.offsets::<O>(&offsets, rows)?;
        let values = self.bytes(&values, span.start as u64..span.end as u64)?;
        let builder = ArrayData::builder(data_type.clone())
            .len(rows.len())
            .null_bit_buffer(nulls);
        built(builder.add_buffer(Buffer::from_vec(offsets)).add_buffer(values))
    }

    /// Views, with those parts of their buffers alone to which they refer.
    pub(super) fn views(&mut self, data_type: &DataType, node: Node, rows: &Range<usize>) -> Result<ArrayData> {
        let buffers = self.next_variadic()?;
        let (nulls, views) = (self.next_buffer()?, self.next_buffer()?);
        let nulls = self.nulls(&nulls, node, rows)?;
        let mut views = aligned::<u128>(self.values(&views, rows, size_of::<u128>())?).to_vec();
        let buffers = (0..buffers).map(|_| self.next_buffer()).collect::<Result<Vec<_>>>()?;
        if let Some(nulls) = &nulls {
            let set = BooleanBuffer::new(nulls.clone(), 0, rows.len());
            let unset = views.iter_mut().zip(set.iter()).filter(|(_, set)| !set);
            unset.for_each(|(view, _)| *view = 0);
        }
        let mut used: Vec<Option<Range<u32>>> = vec![None; buffers.len()];
        for view in views.iter().map(|view| ByteView::from(*view)).filter(is_long) {
            let used = used.get_mut(view.buffer_index as usize);
            let used = used.ok_or_else(|| lie("a text lies in a buffer that there is not"))?;
            let end = view
                .offset
                .checked_add(view.length)
                .ok_or_else(|| lie("a text is too long"))?;
            let range = used.get_or_insert(view.offset..end);
            *range = range.start.min(view.offset)..range.end.max(end);
        }
        let mut builder = ArrayData::builder(data_type.clone())
            .len(rows.len())
            .null_bit_buffer(nulls);
        // What stood in which buffer, from where on, and in which one it is now.
        let mut places = vec![(0, 0); buffers.len()];
        let mut read = Vec::new();
        for (number, (buffer, used)) in buffers.iter().zip(&used).enumerate() {
            if let Some(used) = used {
                places[number] = (read.len() as u32, used.start);
                read.push(self.bytes(buffer, used.start.into()..used.end.into())?);
            }
        }
        for view in &mut views {
            let mut moved = ByteView::from(*view);
            if is_long(&moved) {
                let (buffer, start) = places[moved.buffer_index as usize];
                (moved.buffer_index, moved.offset) = (buffer, moved.offset - start);
                *view = moved.as_u128();
            }
        }
        builder = builder.add_buffer(Buffer::from_vec(views));
        built(
            read.into_iter()
                .fold(builder, |builder, buffer| builder.add_buffer(buffer)),
        )
    }
}

/// Whether a text stands outside its view.
fn is_long(view: &ByteView) -> bool {
    const INLINE_BYTES: u32 = 12;
    view.length > INLINE_BYTES
}
