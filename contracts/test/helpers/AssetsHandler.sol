// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAssets} from "../../src/interfaces/IAssets.sol";
import {AssetsFixture} from "./AssetsFixture.sol";

/// @notice Members, suspended ones too, and an outsider do anything at random, with their own goods and with others'. A
/// model says what must be refused and what each call must come to.
contract AssetsHandler is AssetsFixture {
    struct Model {
        address holder;
        address maker;
        address offeredTo;
        uint256 bundle;
        uint256 levels;
        bool live;
        bool recalled;
        bool isBundle;
        uint256 quantity;
        uint256 mass;
    }

    address[] public actors;
    uint256 public count;
    uint256 public loss;
    uint256 public massCreated;
    int256 public quantity;
    mapping(uint256 id => Model) public models;
    mapping(uint256 id => uint256[]) public inside;

    constructor() {
        setUp();
        actors = [mine, fab, shop, lab, outsider];
    }

    function toggle(uint256 seed) external {
        // Not always: else most calls are refused.
        address who = actors[seed % 3];
        if (!directory.isActive(who)) directory.readmit(who);
        else if (seed % 4 == 0) directory.suspend(who);
    }

    function create(uint256 seed, uint64 amount, uint64 mass) external {
        address who = actors[seed % 5];
        bool fine = _active(who) && amount != 0;
        vm.prank(who);
        try assets.create(_specs(1, amount, mass), proofs[seed % 5]) returns (uint256 id) {
            isTrue(fine && id == count + 1, "created against the rules");
            _begin(who, who, amount, mass);
            massCreated += mass;
            quantity += int256(uint256(amount));
        } catch {
            isTrue(!fine, "a proper asset was refused");
        }
    }

    function offer(uint256 seed, uint256 idSeed, uint256 toSeed) external {
        (uint256 id, address who) = _pick(seed, idSeed);
        address to = actors[toSeed % 5];
        bool fine = _free(id, who) && who != to && _active(to);
        vm.prank(who);
        try assets.offer(id, to, TRANSFER) {
            isTrue(fine, "offered against the rules");
            models[id].offeredTo = to;
        } catch {
            isTrue(!fine, "a proper offer was refused");
        }
    }

    function answer(uint256 seed, uint256 idSeed, bool take, bool proper) external {
        (uint256 id, address who) = _pick(seed, idSeed);
        if (seed % 3 != 0 && models[id].offeredTo != address(0)) who = models[id].offeredTo;
        bool fine = _active(who) && models[id].offeredTo == who && proper;
        bytes32 receipt = proper ? RECEIPT : bytes32(0);
        try this.answerAs(who, id, take, receipt) {
            isTrue(fine, "answered against the rules");
            if (take) models[id].holder = who;
            models[id].offeredTo = address(0);
        } catch {
            isTrue(!fine, "a proper answer was refused");
        }
    }

    /// @dev One call to catch, whichever of the two it is.
    function answerAs(address who, uint256 id, bool take, bytes32 receipt) external {
        vm.prank(who);
        if (take) assets.accept(id, TRANSFER, receipt);
        else assets.reject(id, TRANSFER, receipt);
    }

    function withdraw(uint256 seed, uint256 idSeed) external {
        (uint256 id, address who) = _pick(seed, idSeed);
        bool fine = _active(who) && models[id].holder == who && models[id].offeredTo != address(0);
        vm.prank(who);
        try assets.withdraw(id) {
            isTrue(fine, "withdrawn against the rules");
            models[id].offeredTo = address(0);
        } catch {
            isTrue(!fine, "a proper withdrawal was refused");
        }
    }

    function split(uint256 seed, uint256 idSeed, uint128 cut, uint128 massCut, uint8 lie) external {
        (uint256 id, address who) = _pick(seed, idSeed);
        Model storage model = models[id];
        if (model.quantity < 2 || model.mass == 1) return;
        uint128 first = uint128(bound(cut, 1, model.quantity - 1));
        uint128 firstMass = model.mass == 0 ? 0 : uint128(bound(massCut, 1, model.mass - 1));
        // A fourth says more quantity than there is, a fourth more mass.
        (uint128 extra, uint128 extraMass) = (lie % 4 == 0 ? 1 : 0, lie % 4 == 1 ? 1 : 0);
        IAssets.Part[] memory parts = _parts(
            first, uint128(model.quantity - first) + extra, firstMass, uint128(model.mass - firstMass) + extraMass
        );
        bool fine = _fit(id, who) && lie % 4 > 1;
        vm.prank(who);
        try assets.split(id, parts) returns (uint256 made) {
            isTrue(fine && made == count + 1 && made > id, "split against the rules");
            model.live = false;
            for (uint256 i = 0; i < 2; ++i) {
                _begin(who, model.maker, parts[i].quantity, parts[i].mass);
            }
        } catch {
            isTrue(!fine, "a proper split was refused");
        }
    }

    function transform(uint256 seed, uint256 one, uint256 other, uint64 amount, uint64 mass) external {
        (uint256 id, address who) = _pick(seed, one);
        uint256[] memory inputs = _ids(id, _other(who, other));
        if (amount == 0 || inputs[0] == inputs[1]) return;
        (Model storage first, Model storage second) = (models[inputs[0]], models[inputs[1]]);
        uint256 consumed = first.mass + second.mass;
        // A fourth states more than there is.
        mass = uint64(bound(mass, 0, consumed / 2 + consumed / 8 + 1));
        bool fine = _fit(inputs[0], who) && _fit(inputs[1], who) && !first.isBundle && !second.isBundle;
        fine = fine && uint256(mass) * 2 <= consumed && (mass != 0 || first.mass == 0 || second.mass == 0);
        vm.prank(who);
        try assets.transform(inputs, _specs(2, amount, mass)) returns (uint256 made) {
            isTrue(fine && made == count + 1 && made > inputs[0] && made > inputs[1], "transformed against the rules");
            (first.live, second.live) = (false, false);
            quantity += int256(2 * uint256(amount)) - int256(first.quantity + second.quantity);
            loss += consumed - 2 * uint256(mass);
            _begin(who, who, amount, mass);
            _begin(who, who, amount, mass);
        } catch {
            isTrue(!fine, "a proper transformation was refused");
        }
    }

    function bundle(uint256 seed, uint256 one, uint256 other) external {
        (uint256 id, address who) = _pick(seed, one);
        uint256[] memory children = _ids(id, _other(who, other));
        bool fine = _fit(children[0], who) && _fit(children[1], who) && children[0] != children[1];
        uint256 levels = models[children[0]].levels;
        if (models[children[1]].levels > levels) levels = models[children[1]].levels;
        fine = fine && levels < 16;
        vm.prank(who);
        try assets.bundle(children, "here") returns (uint256 made) {
            isTrue(fine && made == count + 1, "bundled against the rules");
            _begin(who, who, 0, 0);
            (models[made].isBundle, models[made].levels, inside[made]) = (true, levels + 1, children);
            for (uint256 i = 0; i < 2; ++i) {
                (models[children[i]].bundle, models[children[i]].holder) = (made, address(assets));
            }
        } catch {
            isTrue(!fine, "a proper bundle was refused");
        }
    }

    function unbundle(uint256 seed, uint256 idSeed) external {
        (uint256 id, address who) = _pick(seed, idSeed);
        bool fine = _free(id, who) && models[id].isBundle;
        vm.prank(who);
        try assets.unbundle(id) {
            isTrue(fine, "unbundled against the rules");
            models[id].live = false;
            for (uint256 i = 0; i < 2; ++i) {
                (models[inside[id][i]].bundle, models[inside[id][i]].holder) = (0, who);
            }
        } catch {
            isTrue(!fine, "a proper unbundling was refused");
        }
    }

    function recall(uint256 seed, uint256 idSeed) external {
        // Rarely: what is recalled is out of the game.
        if (seed % 8 != 0) return;
        (uint256 id, address who) = _pick(seed / 8, idSeed);
        bool fine = _active(who) && (models[id].maker == who || holderOf(id) == who) && assets.recallOf(id, who) == 0;
        vm.prank(who);
        try assets.recall(id, REASON) {
            isTrue(fine, "recalled against the rules");
            models[id].recalled = true;
        } catch {
            isTrue(!fine, "a proper recall was refused");
        }
    }

    /// @dev By ERC-721's own means nobody moves anything, the holder least of all.
    function seize(uint256 seed, uint256 idSeed, uint256 toSeed) external {
        (uint256 id, address who) = _pick(seed, idSeed);
        vm.prank(who);
        try assets.transferFrom(models[id].holder, actors[toSeed % 5], id) {
            isTrue(false, "moved without acceptance");
        } catch {}
    }

    function holderOf(uint256 id) public view returns (address) {
        while (models[id].bundle != 0) id = models[id].bundle;
        return models[id].live ? models[id].holder : address(0);
    }

    function contracts() external view returns (address theAssets, address theDirectory) {
        return (address(assets), address(directory));
    }

    function _begin(address holder, address maker, uint256 amount, uint256 mass) private {
        models[++count] = Model(holder, maker, address(0), 0, 0, true, false, false, amount, mass);
    }

    /// @dev An id, the next one that is not there yet included, and mostly its holder.
    function _pick(uint256 seed, uint256 idSeed) private view returns (uint256 id, address who) {
        id = 1 + idSeed % (count + 1);
        who = actors[(seed / 4) % 5];
        if (seed % 4 != 0 && holderOf(id) != address(0)) who = holderOf(id);
    }

    /// @dev Mostly something else that the account holds, if it does.
    function _other(address who, uint256 seed) private view returns (uint256 id) {
        id = 1 + seed % (count + 1);
        for (uint256 i = 0; i < count && seed % 4 != 0; ++i) {
            uint256 next = 1 + (seed % count + i) % count;
            if (models[next].holder == who && models[next].live) return next;
        }
    }

    function _active(address who) private view returns (bool) {
        return directory.isActive(who);
    }

    function _free(uint256 id, address who) private view returns (bool) {
        Model storage model = models[id];
        return _active(who) && model.live && model.holder == who && model.offeredTo == address(0);
    }

    function _fit(uint256 id, address who) private view returns (bool) {
        return _free(id, who) && !models[id].recalled;
    }
}
