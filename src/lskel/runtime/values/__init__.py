"""Values of C types: structs, unions and arrays in memory, and codecs between bytes and Python.

The classes are ctypes classes: reading is as fast, an instance from `from_buffer` is a live view,
and `bytes()` of one is what the kernel sees. Unlike ctypes, they raise an error for a number that
does not fit, bytes that are too long, or an unknown name. The layout is that of the definition, not
what ctypes would choose.
"""

from lskel.runtime.values.arrays import Array as Array
from lskel.runtime.values.arrays import array as array
from lskel.runtime.values.arrays import text as text
from lskel.runtime.values.codec import Codec as Codec
from lskel.runtime.values.codec import codec as codec
from lskel.runtime.values.codec import codec_of as codec_of
from lskel.runtime.values.codec import raw as raw
from lskel.runtime.values.scalars import boolean as boolean
from lskel.runtime.values.scalars import enum as enum
from lskel.runtime.values.scalars import f32 as f32
from lskel.runtime.values.scalars import f64 as f64
from lskel.runtime.values.scalars import pointer as pointer
from lskel.runtime.values.scalars import s8 as s8
from lskel.runtime.values.scalars import s16 as s16
from lskel.runtime.values.scalars import s32 as s32
from lskel.runtime.values.scalars import s64 as s64
from lskel.runtime.values.scalars import s128 as s128
from lskel.runtime.values.scalars import u8 as u8
from lskel.runtime.values.scalars import u16 as u16
from lskel.runtime.values.scalars import u32 as u32
from lskel.runtime.values.scalars import u64 as u64
from lskel.runtime.values.scalars import u128 as u128
from lskel.runtime.values.structs import Bits as Bits
from lskel.runtime.values.structs import Struct as Struct
from lskel.runtime.values.structs import Union as Union
from lskel.runtime.values.structs import layout as layout
