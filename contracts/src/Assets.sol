// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AssetsBase} from "./AssetsBase.sol";
import {IAssets} from "./interfaces/IAssets.sol";
import {INotary} from "./interfaces/INotary.sol";

/// @title The goods, on OpenZeppelin ERC721; see IAssets
/// @dev What members do; what is kept, read and demanded is in AssetsBase.
contract Assets is IAssets, AssetsBase {
    /// @param notary_ The Notary that evidence is checked by; its Directory says who may act
    constructor(INotary notary_) AssetsBase(notary_) {}

    /// @inheritdoc IAssets
    function create(Spec[] calldata specs, Evidence calldata evidence) external onlyActive returns (uint256 first) {
        _requireCount(specs.length, 1);
        _requireEvidence(evidence);
        first = _reserve(specs.length);
        for (uint256 i = 0; i < specs.length; ++i) {
            _begin(first + i, msg.sender, specs[i]);
            emit Created(first + i, msg.sender, specs[i]);
            _link(first + i, evidence);
        }
    }

    /// @inheritdoc IAssets
    function link(uint256[] calldata ids, Evidence calldata evidence) external onlyActive {
        _requireCount(ids.length, 1);
        _requireEvidence(evidence);
        for (uint256 i = 0; i < ids.length; ++i) {
            State state = _assets[ids[i]].state;
            if (state != State.Live) revert NotLive(ids[i], state);
            if (holderOf(ids[i]) != msg.sender) revert NotHolder(ids[i], msg.sender);
            _link(ids[i], evidence);
        }
    }

    /// @inheritdoc IAssets
    function offer(uint256 id, address to, bytes32 transfer) external onlyActive {
        Entry storage asset = _free(id);
        if (to == msg.sender) revert OfferToHolder(id, to);
        _requireActive(to);
        asset.offeredTo = to;
        if (transfer != bytes32(0)) _transfers[id] = transfer;
        emit Offered(id, msg.sender, to, transfer);
    }

    /// @inheritdoc IAssets
    function accept(uint256 id, bytes32 transfer, bytes32 receipt) external onlyActive {
        address from = _answer(id, transfer, receipt);
        _transfer(from, msg.sender, id);
        emit Accepted(id, from, msg.sender, transfer, receipt);
    }

    /// @inheritdoc IAssets
    function reject(uint256 id, bytes32 transfer, bytes32 receipt) external onlyActive {
        address from = _answer(id, transfer, receipt);
        emit Rejected(id, from, msg.sender, transfer, receipt);
    }

    /// @inheritdoc IAssets
    function withdraw(uint256 id) external onlyActive {
        _held(id);
        (address to, bytes32 transfer) = offerOf(id);
        if (to == address(0)) revert NoOffer(id);
        _close(id);
        emit Withdrawn(id, msg.sender, to, transfer);
    }

    /// @inheritdoc IAssets
    function split(uint256 id, Part[] calldata parts) external onlyActive returns (uint256 first) {
        _requireCount(parts.length, 2);
        Entry memory lot = _fit(id);
        if (lot.kind != Kind.Lot) revert NotALot(id);
        _end(id, State.Split);
        first = _reserve(parts.length);
        uint256 quantity = 0;
        uint256 mass = 0;
        for (uint256 i = 0; i < parts.length; ++i) {
            Part calldata part = parts[i];
            if (lot.mass != 0 && part.mass == 0) revert NoMass(i);
            quantity += part.quantity;
            mass += part.mass;
            _begin(first + i, lot.maker, Spec(lot.kind, lot.unit, part.quantity, part.mass));
        }
        if (quantity != lot.quantity) revert QuantityMismatch(quantity, lot.quantity);
        if (mass != lot.mass) revert MassMismatch(mass, lot.mass);
        emit Split(id, msg.sender, first, parts);
    }

    /// @inheritdoc IAssets
    function transform(uint256[] calldata inputs, Spec[] calldata outputs) external onlyActive returns (uint256 first) {
        _requireCount(inputs.length, 1);
        _requireCount(outputs.length, 1);
        (uint256 consumed, bool weighed) = _consume(inputs);
        first = _reserve(outputs.length);
        uint256 made = 0;
        for (uint256 i = 0; i < outputs.length; ++i) {
            if (weighed && outputs[i].mass == 0) revert NoMass(i);
            made += outputs[i].mass;
            _begin(first + i, msg.sender, outputs[i]);
        }
        if (made > consumed) revert MassExceeded(made, consumed);
        emit Transformed(msg.sender, first, inputs, outputs, consumed - made);
    }

    /// @inheritdoc IAssets
    function bundle(uint256[] calldata children, string calldata place) external onlyActive returns (uint256 id) {
        _requireCount(children.length, 1);
        uint256 length = bytes(place).length;
        if (length == 0 || length > MAX_PLACE_BYTES) revert BadPlaceLength(length, MAX_PLACE_BYTES);
        id = _reserve(1);
        uint8 levels = 0;
        uint64[] storage inside = _children[id];
        for (uint256 i = 0; i < children.length; ++i) {
            Entry storage child = _fit(children[i]);
            if (child.levels >= MAX_LEVELS) revert TooManyLevels(children[i], MAX_LEVELS);
            if (child.levels > levels) levels = child.levels;
            // Ids that exist count from 1, one a token: they never come near 64 bits.
            // forge-lint: disable-next-line(unsafe-typecast)
            child.bundle = uint64(id);
            // forge-lint: disable-next-line(unsafe-typecast)
            inside.push(uint64(children[i]));
            _transfer(msg.sender, address(this), children[i]);
        }
        Entry storage entry = _assets[id];
        (entry.maker, entry.kind, entry.state, entry.levels) = (msg.sender, Kind.Bundle, State.Live, levels + 1);
        _mint(msg.sender, id);
        emit Bundled(id, msg.sender, children, place);
    }

    /// @inheritdoc IAssets
    function unbundle(uint256 id) external onlyActive {
        if (_free(id).kind != Kind.Bundle) revert NotABundle(id);
        uint64[] memory children = _children[id];
        delete _children[id];
        _end(id, State.Unbundled);
        for (uint256 i = 0; i < children.length; ++i) {
            _assets[children[i]].bundle = 0;
            _transfer(address(this), msg.sender, children[i]);
        }
        emit Unbundled(id, msg.sender);
    }

    /// @inheritdoc IAssets
    function recall(uint256 id, bytes32 statement) external onlyActive {
        if (statement == bytes32(0)) revert NoRecallStatement();
        Entry storage asset = _assets[id];
        if (asset.maker != msg.sender && holderOf(id) != msg.sender) revert NotMakerOrHolder(id, msg.sender);
        if (_recalls[id][msg.sender] != bytes32(0)) revert AlreadyRecalled(id, msg.sender);
        _recalls[id][msg.sender] = statement;
        asset.recalled = true;
        emit Recalled(id, msg.sender, statement);
    }

    function _consume(uint256[] calldata inputs) private returns (uint256 mass, bool weighed) {
        weighed = true;
        for (uint256 i = 0; i < inputs.length; ++i) {
            Entry storage input = _fit(inputs[i]);
            if (input.kind == Kind.Bundle) revert IsABundle(inputs[i]);
            mass += input.mass;
            weighed = weighed && input.mass != 0;
            _end(inputs[i], State.Transformed);
        }
    }

    function _link(uint256 id, Evidence calldata evidence) private {
        mapping(bytes32 digest => bool) storage links = _links[id][evidence.issuer];
        if (links[evidence.digest]) revert AlreadyLinked(id, evidence.issuer, evidence.digest);
        links[evidence.digest] = true;
        emit Linked(id, evidence.issuer, evidence.digest, msg.sender);
    }

    function _answer(uint256 id, bytes32 transfer, bytes32 receipt) private returns (address from) {
        (address to, bytes32 offered) = offerOf(id);
        if (to == address(0)) revert NoOffer(id);
        if (to != msg.sender) revert NotOfferedTo(id, msg.sender);
        if (transfer != offered) revert OtherTransfer(id, offered);
        if (offered != bytes32(0) && receipt == bytes32(0)) revert NoReceipt(id);
        _close(id);
        return _ownerOf(id);
    }

    function _close(uint256 id) private {
        delete _assets[id].offeredTo;
        delete _transfers[id];
    }
}
