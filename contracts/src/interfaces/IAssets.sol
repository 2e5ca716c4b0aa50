// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IDirectory} from "./IDirectory.sol";
import {INotary} from "./INotary.sol";

/// @title The goods: lots, components and bundles of them as tokens, and who has custody of each
/// @notice Ids count from 1. What is made of other assets has a higher id than these, so history has no cycle. Custody
/// moves by an offer and its acceptance alone: ERC-721's own transfers and approvals always revert with
/// `CustodyMovesByOffer` (see docs/adr/0011-custody-by-acceptance.md). The events alone tell all of the state.
/// @dev Whoever acts is an active member of the Directory. An asset is *held* by its token's owner; one in a bundle
/// belongs to this contract until it is unbundled, and is held by the holder of the outermost bundle. Views other than
/// ERC-721's answer for unknown ids with zeros.
interface IAssets {
    /// @notice A lot can be split; a component can't; a bundle is made of other assets.
    enum Kind {
        Lot,
        Component,
        Bundle
    }

    /// @notice Whether an asset is there, and else how it ended.
    enum State {
        Unknown,
        Live,
        Split,
        Transformed,
        Unbundled
    }

    /// @notice What a lot or a component is.
    /// @param kind Lot or component
    /// @param unit UN/CEFACT Recommendation 20 code: 1 to 3 digits and capitals, then zero bytes, such as "KGM", "H87"
    /// @param quantity In 0.000001 of the unit, not 0
    /// @param mass In milligrams; 0 = not stated. For "KGM", where a step of quantity is one, it is the quantity or 0
    struct Spec {
        Kind kind;
        bytes3 unit;
        uint128 quantity;
        uint128 mass;
    }

    /// @notice One of the parts that a lot is split into, in the lot's unit.
    /// @param quantity In 0.000001 of the unit, not 0
    /// @param mass In milligrams; 0 if and only if the lot states none
    struct Part {
        uint128 quantity;
        uint128 mass;
    }

    /// @notice That `issuer` anchored a statement. The chain can't read it: that it is a document statement, by `issuer`,
    /// about these goods, is for the reader of the event to check.
    /// @param issuer The account that anchored the batch: the statement's issuer
    /// @param root The batch's root
    /// @param size The batch's size
    /// @param index The statement's position, from 0
    /// @param digest The statement's SHA-256 digest
    /// @param path Its audit path, leaf side first
    struct Evidence {
        address issuer;
        bytes32 root;
        uint64 size;
        uint64 index;
        bytes32 digest;
        bytes32[] path;
    }

    /// @notice An asset. It keeps what it was when it ended.
    /// @param maker Who created, transformed or bundled it; the parts of a lot keep the lot's
    /// @param kind Lot, component or bundle
    /// @param state Whether it is there, and else how it ended
    /// @param recalled Whether it was ever recalled
    /// @param levels How many levels of bundles it is: 0 for a lot or component, 1 more than its highest child
    /// @param unit As in `Spec`; zero for a bundle
    /// @param quantity As in `Spec`; 0 for a bundle
    /// @param mass As in `Spec`; 0 for a bundle: its contents have theirs
    /// @param bundle The bundle it is in; 0 = none
    struct Asset {
        address maker;
        Kind kind;
        State state;
        bool recalled;
        uint8 levels;
        bytes3 unit;
        uint128 quantity;
        uint128 mass;
        uint256 bundle;
    }

    /// @notice A member created an asset; `Linked` follows with its evidence.
    event Created(uint256 indexed id, address indexed maker, Spec spec);
    /// @notice The holder linked a statement to an asset.
    event Linked(uint256 indexed id, address indexed issuer, bytes32 indexed digest, address by);
    /// @notice The holder offered an asset; `transfer` is the digest of the transfer statement, or 0.
    event Offered(uint256 indexed id, address indexed from, address indexed to, bytes32 transfer);
    /// @notice `to` holds the asset now; `receipt` is the digest of the receipt statement, or 0.
    event Accepted(uint256 indexed id, address indexed from, address indexed to, bytes32 transfer, bytes32 receipt);
    /// @notice `to` refused the asset, which stays with `from`; `receipt` is the digest of the receipt, or 0.
    event Rejected(uint256 indexed id, address indexed from, address indexed to, bytes32 transfer, bytes32 receipt);
    /// @notice The holder took its offer back.
    event Withdrawn(uint256 indexed id, address indexed from, address indexed to, bytes32 transfer);
    /// @notice A lot ended; its parts have the ids from `first` on, its kind, unit and maker.
    event Split(uint256 indexed id, address indexed holder, uint256 indexed first, Part[] parts);
    /// @notice The inputs ended; the outputs have the ids from `first` on. `loss` is the stated mass that is gone.
    event Transformed(address indexed maker, uint256 indexed first, uint256[] inputs, Spec[] outputs, uint256 loss);
    /// @notice The children are in bundle `id` now, which begins at `place`.
    event Bundled(uint256 indexed id, address indexed maker, uint256[] children, string place);
    /// @notice A bundle ended; what was in it is held by `holder`.
    event Unbundled(uint256 indexed id, address indexed holder);
    /// @notice The maker or the holder recalled an asset; `statement` is the digest of the statement that says why.
    event Recalled(uint256 indexed id, address indexed by, bytes32 statement);

    /// @notice The Notary address given at deployment holds no code.
    error NotaryHasNoCode(address notary);
    /// @notice The account is not an active member of the Directory.
    error NotActiveMember(address account);
    /// @notice Custody moves by `offer` and `accept`, never by a transfer or an approval.
    error CustodyMovesByOffer();
    /// @notice The list has `count` elements, not `min` to `max`.
    error BadCount(uint256 count, uint256 min, uint256 max);
    /// @notice Not 1 to 3 digits and capitals from the left.
    error BadUnit(bytes3 unit);
    /// @notice Only `bundle` makes a bundle.
    error BadKind(Kind kind);
    /// @notice A lot or component has a quantity.
    error NoQuantity();
    /// @notice A quantity in kilograms and a stated mass are the same number.
    error MassIsNotQuantity(uint128 mass, uint128 quantity);
    /// @notice The issuer revoked the statement, with effect by now.
    error EvidenceRevoked(address issuer, bytes32 digest, uint64 effective);
    /// @notice This statement by this issuer is linked already.
    error AlreadyLinked(uint256 id, address issuer, bytes32 digest);
    /// @notice There is no such asset, or it has ended.
    error NotLive(uint256 id, State state);
    /// @notice The asset is in a bundle.
    error InBundle(uint256 id, uint256 bundle);
    /// @notice The account is not the holder.
    error NotHolder(uint256 id, address account);
    /// @notice The asset is offered to somebody: withdraw that first.
    error OfferIsOpen(uint256 id, address to);
    /// @notice The holder has it already.
    error OfferToHolder(uint256 id, address to);
    /// @notice There is no offer of this asset.
    error NoOffer(uint256 id);
    /// @notice The asset is offered to another account.
    error NotOfferedTo(uint256 id, address account);
    /// @notice The offer names another transfer.
    error OtherTransfer(uint256 id, bytes32 transfer);
    /// @notice An offer with a transfer is answered with a receipt.
    error NoReceipt(uint256 id);
    /// @notice Only a lot can be split.
    error NotALot(uint256 id);
    /// @notice A bundle is unbundled before its contents are transformed.
    error IsABundle(uint256 id);
    /// @notice Only a bundle can be unbundled.
    error NotABundle(uint256 id);
    /// @notice The parts' quantities don't add up to the lot's.
    error QuantityMismatch(uint256 parts, uint128 lot);
    /// @notice The parts' masses don't add up to the lot's.
    error MassMismatch(uint256 parts, uint128 lot);
    /// @notice Part or output `index` states no mass, though all it is made from does.
    error NoMass(uint256 index);
    /// @notice The outputs' stated mass is more than the inputs'.
    error MassExceeded(uint256 outputs, uint256 inputs);
    /// @notice A place has 1 to `max` bytes.
    error BadPlaceLength(uint256 length, uint256 max);
    /// @notice This child has as many levels of bundles as there may be.
    error TooManyLevels(uint256 id, uint256 max);
    /// @notice A recalled asset can be sent back and unbundled, nothing else.
    error AssetRecalled(uint256 id);
    /// @notice The account recalled this asset before.
    error AlreadyRecalled(uint256 id, address account);
    /// @notice Only the maker, even of what has ended, and the holder recall.
    error NotMakerOrHolder(uint256 id, address account);
    /// @notice A recall names the statement that says why.
    error NoRecallStatement();

    /// @notice Creates lots and components that one statement is about; the caller is their maker and holder.
    /// @param specs What they are, 1 to 128
    /// @param evidence That the statement is anchored; it is linked to each
    /// @return first The first id; the others follow
    function create(Spec[] calldata specs, Evidence calldata evidence) external returns (uint256 first);

    /// @notice Links one more statement to live assets, in bundles or not. Only by their holder; once for each asset,
    /// issuer and digest.
    /// @param ids The assets, 1 to 128
    /// @param evidence That the statement is anchored
    function link(uint256[] calldata ids, Evidence calldata evidence) external;

    /// @notice Offers an asset to an active member. Until the answer it can't be split, transformed, bundled, unbundled
    /// or offered again. Only by the holder.
    /// @param id The asset
    /// @param to Who shall have it
    /// @param transfer The digest of the transfer statement for the packets that go with it; 0 = none
    function offer(uint256 id, address to, bytes32 transfer) external;

    /// @notice Takes custody of an asset offered to the caller. A suspension of the holder since does not hinder it.
    /// @param id The asset
    /// @param transfer The transfer that the caller means: the offer's
    /// @param receipt The digest of the receipt statement; 0 only where the offer names no transfer
    function accept(uint256 id, bytes32 transfer, bytes32 receipt) external;

    /// @notice Refuses an asset offered to the caller.
    /// @param id The asset
    /// @param transfer The transfer that the caller means: the offer's
    /// @param receipt The digest of the receipt statement, which says why; 0 only where the offer names no transfer
    function reject(uint256 id, bytes32 transfer, bytes32 receipt) external;

    /// @notice Takes the caller's own open offer back.
    /// @param id The asset
    function withdraw(uint256 id) external;

    /// @notice Ends a lot; its parts begin, with sums of quantities and masses equal to the lot's. Only by the holder.
    /// @param id The lot
    /// @param parts 2 to 128
    /// @return first The first part's id; the others follow
    function split(uint256 id, Part[] calldata parts) external returns (uint256 first);

    /// @notice Ends the inputs; the outputs begin, the caller their maker and holder. The outputs never state more mass
    /// than the inputs do in all, and each states one when every input does. Only by the inputs' holder.
    /// @param inputs Lots and components, each consumed whole, 1 to 128
    /// @param outputs What they became, 1 to 128
    /// @return first The first output's id; the others follow
    function transform(uint256[] calldata inputs, Spec[] calldata outputs) external returns (uint256 first);

    /// @notice Puts assets, which may be bundles, into a new bundle of at most 16 levels. Only by their holder.
    /// @param children What is in it, 1 to 128
    /// @param place Where it begins, such as a GLN or a pallet's location, 1 to 256 bytes of UTF-8
    /// @return id The bundle's id
    function bundle(uint256[] calldata children, string calldata place) external returns (uint256 id);

    /// @notice Ends a bundle that is in no other; what is in it is the caller's again. Only by the holder.
    /// @param id The bundle
    function unbundle(uint256 id) external;

    /// @notice Recalls an asset for good: it can still be sent back, unbundled and linked to, nothing else. Only by its
    /// maker, even when it has ended, or by its holder; once by each. A bundle's recall is about its packing alone: to
    /// recall what is in it, recall that.
    /// @param id The asset
    /// @param statement The digest of the statement that says why, not zero
    function recall(uint256 id, bytes32 statement) external;

    /// @notice The Notary that evidence is checked by.
    /// @return The contract
    function notary() external view returns (INotary);

    /// @notice The Directory that says who may act: the Notary's.
    /// @return The contract
    function directory() external view returns (IDirectory);

    /// @notice How many assets ever began: the last id.
    /// @return The number
    function assetCount() external view returns (uint256);

    /// @notice What an asset is, or was when it ended.
    /// @param id The asset
    /// @return The asset; all zeros for an unknown id
    function assetOf(uint256 id) external view returns (Asset memory);

    /// @notice Who has custody, up to the outermost bundle.
    /// @param id The asset
    /// @return The holder; zero for an asset that is not live
    function holderOf(uint256 id) external view returns (address);

    /// @notice The open offer of an asset.
    /// @param id The asset
    /// @return to Whom it is offered to; zero = nobody
    /// @return transfer The digest of the transfer statement; 0 = none
    function offerOf(uint256 id) external view returns (address to, bytes32 transfer);

    /// @notice What is in a bundle.
    /// @param id The bundle
    /// @return The children, at most 128; none when it has ended
    function childrenOf(uint256 id) external view returns (uint256[] memory);

    /// @notice Whether a statement was linked to an asset.
    /// @param id The asset
    /// @param issuer The issuer
    /// @param digest The statement's SHA-256 digest
    /// @return Whether it was
    function isLinked(uint256 id, address issuer, bytes32 digest) external view returns (bool);

    /// @notice An account's recall of an asset.
    /// @param id The asset
    /// @param by The account
    /// @return The digest of the statement that says why; 0 = it did not recall it
    function recallOf(uint256 id, address by) external view returns (bytes32);
}
