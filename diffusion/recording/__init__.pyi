from .contract import (
    ATTRIBUTE_LENGTH as ATTRIBUTE_LENGTH,
    EVENT_LENGTH as EVENT_LENGTH,
    EVENTS as EVENTS,
    EVENTS_SCHEMA as EVENTS_SCHEMA,
    NAME_LENGTH as NAME_LENGTH,
    DatasetLike as DatasetLike,
    check as check,
    events_attributes as events_attributes,
    events_of as events_of,
    events_version as events_version,
    pack as pack,
    seam_faults as seam_faults,
)
from .disk import (
    make_folder as make_folder,
    sync_folder as sync_folder,
    whole_file as whole_file,
)
from .errors import (
    ForeignError as ForeignError,
    RecordError as RecordError,
    UnfamiliarError as UnfamiliarError,
    brief as brief,
    cut_off as cut_off,
    escaped as escaped,
    nearest as nearest,
    nearest_file as nearest_file,
    shortened as shortened,
)
from .fields import ASKED_WITH as ASKED_WITH, COORDINATES as COORDINATES, FIELDS as FIELDS
from .headers import HeaderVariable as HeaderVariable
from .joining import (
    FOLLOWS as FOLLOWS,
    has_holes as has_holes,
    missing_end as missing_end,
    missing_segments as missing_segments,
    reach_files as reach_files,
    reached as reached,
    tell_reached as tell_reached,
    update_seconds as update_seconds,
)
from .labels import (
    LABELS as LABELS,
    SCALARS as SCALARS,
    as_label as as_label,
    check_sizes as check_sizes,
    parsed_label as parsed_label,
)
from .lease import (
    HELD_UPDATES as HELD_UPDATES,
    Lease as Lease,
    Owner as Owner,
    TakenOver as TakenOver,
    killed_behind as killed_behind,
    lost_in_words as lost_in_words,
    recorded_by as recorded_by,
    state_of as state_of,
    unwritten as unwritten,
)
from .netcdf import (
    SUFFIX as SUFFIX,
    closed_file as closed_file,
    from_bytes as from_bytes,
    is_file as is_file,
    join_segments as join_segments,
    read_content as read_content,
    read_file as read_file,
    read_variable as read_variable,
    sealed_header as sealed_header,
    segment_file as segment_file,
    segments_of as segments_of,
    size_fault as size_fault,
    to_bytes as to_bytes,
    write_file as write_file,
    write_groups as write_groups,
)
from .outside import SIGNATURE as SIGNATURE
from .remote import (
    RemoteRecording as RemoteRecording,
    StoreError as StoreError,
    get_object as get_object,
    is_cut as is_cut,
    is_url as is_url,
    local_path as local_path,
    objects_of as objects_of,
    put_object as put_object,
    read_object as read_object,
    recordings_in as recordings_in,
    refuse_hostile as refuse_hostile,
    remove_object as remove_object,
    store_of as store_of,
)
from .schedule import log_spaced as log_spaced
